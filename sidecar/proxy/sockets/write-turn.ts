// Many streams share a connection, and what one read brings is for several of them: all that a turn writes to a connection leaves in one write at
// its end. A turn is what one read brings about; outside of any it is what the event loop does before it goes on.

export interface Writer {
  /** Writes out what was gathered. */
  writeOut(): void;
}

const writers: Writer[] = [];
let depth = 0;

export function beginTurn(): void {
  depth += 1;
}

export function endTurn(): void {
  depth -= 1;
  if (depth === 0) writeAll();
}

/** Once for each turn. */
export function writeAtEndOfTurn(writer: Writer): void {
  writers.push(writer);
  if (depth === 0 && writers.length === 1) process.nextTick(writeAll);
}

function writeAll(): void {
  if (depth > 0) return;
  for (let index = 0; index < writers.length; index++) writers[index]?.writeOut();
  writers.length = 0;
}
