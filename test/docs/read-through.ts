// Goes through a page as a reader does: types its commands in order, saves its files, and compares what it shows with what appears.
import { cpSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../examples.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { commandsAbove, type Kind, kindOf } from './kinds.ts';
import { type Matched, matchHttp, matchOutput, withLearnt } from './output.ts';
import { type Block, whereIs } from './pages.ts';
import { Terminal, type Typed } from './terminal.ts';

/** Commands that only look may be typed again until what they show is what the page says: a status follows within seconds. */
const LOOKS = /^\s*(kubectl( -n \S+)? (get|describe|logs|events)|curl -s|POD=|npx breakwater status)\b/;
const PATIENCE_MS = 30_000;

export interface Reading {
  /** Which commands are typed; the others belong to another place. */
  kind: Extract<Kind, 'machine' | 'cluster'>;
  environment?: Readonly<Record<string, string>>;
  /** What the page says and what it is here, such as a port that is free. */
  instead?: ReadonlyMap<string, string>;
}

/** The repository as a reader has cloned it, whose files may be changed. */
export function makeClone(instead: ReadonlyMap<string, string> = new Map()): string {
  const folder = temporaryFolder('docs');
  for (const name of readdirSync(root)) {
    if (name === 'examples' || name.startsWith('.')) continue;
    symlinkSync(join(root, name), join(folder, name));
  }
  cpSync(join(root, 'examples'), join(folder, 'examples'), { recursive: true });
  for (const name of readdirSync(join(folder, 'examples'), { recursive: true, encoding: 'utf8' })) {
    const path = join(folder, 'examples', name);
    if (name.endsWith('.yaml')) writeFileSync(path, withLearnt(readFileSync(path, 'utf8'), instead));
  }
  return folder;
}

/** A page that does not hold throws, and says where. */
export async function readThrough(blocks: readonly Block[], reading: Reading): Promise<void> {
  const folder = makeClone(reading.instead);
  const terminal = new Terminal({ folder, environment: reading.environment ?? {} });
  const learnt = new Map(reading.instead);
  const printed = new Map<Block, Typed>();
  try {
    for (const block of blocks) {
      const kind = kindOf(block, blocks);
      const text = withLearnt(block.text, learnt);
      if (kind === 'file') writeFileSync(join(folder, block.mark?.value ?? ''), `${text}\n`);
      else if (kind === reading.kind && block.mark?.name === 'terminal') terminal.open(block.mark.value, text);
      else if (kind === reading.kind) printed.set(block, await typeBlock(terminal, block, text));
      else if (kind === 'output') {
        for (const [shown, real] of await expectShown(terminal, block, blocks, printed, learnt))
          learnt.set(shown, real);
      }
    }
  } finally {
    await terminal.end();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function typeBlock(terminal: Terminal, block: Block, text: string): Promise<Typed> {
  const typed = await terminal.type(text);
  const isMeantToFail = block.mark?.name === 'fails';
  if (typed.failed.length > 0 !== isMeantToFail) {
    const what = isMeantToFail ? 'nothing failed' : `these commands failed: ${typed.failed.join('; ')}`;
    throw new Error(`${whereIs(block)}: ${what}\n${typed.output}`);
  }
  return typed;
}

async function expectShown(
  terminal: Terminal,
  block: Block,
  blocks: readonly Block[],
  printed: ReadonlyMap<Block, Typed>,
  learnt: ReadonlyMap<string, string>,
): Promise<Matched['learnt']> {
  const commands = commandsAbove(block, blocks);
  const isOther = block.mark?.name === 'terminal';
  const typed = commands && printed.get(commands);
  // What belongs to the other place was not typed.
  if (!commands || (!typed && !(isOther && terminal.has(block.mark?.value ?? '')))) return new Map();
  let output = isOther ? terminal.outputOf(block.mark?.value ?? '') : (typed?.output ?? '');
  const mayLookAgain = isOther || onlyLooks(commands);
  for (const endMs = performance.now() + (mayLookAgain ? PATIENCE_MS : 0); ; await pause(isOther ? 50 : 500)) {
    const matched =
      block.language === 'http' ? matchHttp(block.text, output) : matchOutput(block.text, output, isOther);
    if (matched) return matched.learnt;
    if (performance.now() >= endMs) break;
    output = isOther
      ? terminal.outputOf(block.mark?.value ?? '')
      : (await typeBlock(terminal, commands, withLearnt(commands.text, learnt))).output;
  }
  if (process.env['UPDATE_GOLDEN'] === '1' && rewrite(block, output)) return new Map();
  throw new Error(
    `${whereIs(block)} does not show what appears; UPDATE_GOLDEN=1 writes it there.\n--- shown\n${block.text}\n--- printed\n${output}`,
  );
}

const onlyLooks = ({ text }: Block): boolean =>
  text.split('\n').every((line) => LOOKS.test(line) || line.trim() === '' || line.startsWith(' '));

/** Writes what was printed into the page; not over a block that shows a part on purpose. */
function rewrite(block: Block, output: string): boolean {
  if (block.language !== 'text' || /^\s*\.\.\.$/m.test(block.text)) return false;
  const path = join(root, block.page);
  const page = readFileSync(path, 'utf8');
  const fenced = (text: string) => `\`\`\`${block.language}\n${text.trimEnd()}\n\`\`\`\n`;
  if (!page.includes(fenced(block.text))) return false;
  writeFileSync(
    path,
    page.replace(fenced(block.text), () => fenced(output)),
  );
  return true;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
