// Two connections, each the other's peer, under any script of sends, pauses, resets and ends, over a wire that brings bytes when and in what parts it likes.
// What must hold is counted from the frames on the wire and from what was given to one side and told to the other.
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { ErrorCode } from './error-code.ts';
import { type Http2Stream, NOBODY, type StreamOwner } from './stream.ts';
import { OneSide } from './testing/one-side.ts';
import { WindowLedger } from './testing/window-ledger.ts';

const REQUEST = [':method', 'POST', ':scheme', 'http', ':authority', 'shop', ':path', '/'];
const ANSWER = [':status', '200'];

/** One end of a stream, and what the model knows of it. */
class End implements StreamOwner {
  readonly stream: Http2Stream;
  sent = '';
  received = '';
  headSent = false;
  endSent = false;
  /** Reset by itself, or by an answer that was whole before its request. */
  resets = false;
  ends = 0;
  resetsTold = 0;
  /** How many times content is given back as not to be taken now. */
  putsBack = 0;
  /** Pauses in the middle of what it is told. */
  pausesAt = -1;
  isPaused = false;

  constructor(stream: Http2Stream) {
    this.stream = stream;
    stream.owner = this;
  }

  get isDone(): boolean {
    return this.ends > 0 || this.resetsTold > 0;
  }

  fieldsCame(_fields: readonly string[], ended: boolean): void {
    expect(this.isDone).toBe(false);
    if (ended) this.ends++;
  }

  dataCame(buffer: Buffer, start: number, end: number): void {
    expect(this.isDone).toBe(false);
    expect(this.isPaused).toBe(false);
    expect(end).toBeGreaterThan(start);
    if (this.putsBack > 0) {
      this.putsBack--;
      this.isPaused = true;
      this.stream.putBack(buffer, start, end);
      return;
    }
    this.received += buffer.latin1Slice(start, end);
    if (this.pausesAt < 0 || this.pausesAt-- > 0) return;
    this.isPaused = true;
    this.stream.pause();
  }

  endCame(): void {
    expect(this.isDone).toBe(false);
    this.ends++;
  }

  drained(): void {
    expect(this.stream.blocked).toBe(false);
  }

  resetCame(): void {
    expect(this.resetsTold).toBe(0);
    this.resetsTold++;
  }
}

interface Side {
  side: OneSide;
  /** What it may send. */
  ledger: WindowLedger;
  /** What is on its way to it. */
  wire: Buffer<ArrayBufferLike>;
}

class World {
  readonly client: Side;
  readonly server: Side;
  readonly ends: { client: End; server: End | null }[] = [];
  #letter = 0;

  constructor(clientWindow: number, serverWindow: number) {
    const make = (isServer: boolean, window: number): Side => ({
      side: new OneSide(isServer, window),
      ledger: new WindowLedger(),
      wire: Buffer.alloc(0),
    });
    this.client = make(false, clientWindow);
    this.server = make(true, serverWindow);
    this.server.side.onStream = (stream, _fields, ended) => {
      const pair = this.ends.find(({ client }) => client.stream.id === stream.id);
      if (!pair) return;
      pair.server = new End(stream);
      if (ended) pair.server.ends++;
    };
    this.collect();
  }

  /** What both have written is on its way. */
  collect(): void {
    for (const [from, to] of [
      [this.client, this.server],
      [this.server, this.client],
    ] as const) {
      const bytes = from.side.take();
      from.ledger.wrote(bytes);
      to.wire = Buffer.concat([to.wire, bytes]);
    }
    for (const { client, server } of this.ends) {
      this.#checkGrants(client, this.client);
      if (server) this.#checkGrants(server, this.server);
    }
    expect(this.client.side.failures).toEqual([]);
    expect(this.server.side.failures).toEqual([]);
  }

  /** Nobody is told that there is room which what waits for its reader takes up. */
  #checkGrants(end: End, { ledger }: Side): void {
    if (!end.resets && end.resetsTold === 0)
      expect(ledger.granted(end.stream.id)).toBeLessThanOrEqual(end.received.length);
  }

  deliver(to: Side, bytes: number): void {
    const part = Buffer.from(to.wire.subarray(0, bytes));
    to.wire = to.wire.subarray(part.length);
    to.ledger.gave(part);
    if (part.length > 0) to.side.receive(part);
    part.fill(0xee);
    this.collect();
  }

  open(ended: boolean): void {
    const end = new End(this.client.side.connection.open());
    this.ends.push({ client: end, server: null });
    end.stream.sendFields(REQUEST, ended);
    end.headSent = true;
    end.endSent = ended;
  }

  send(end: End, bytes: number): void {
    if (end.endSent || end.stream.isOver || end.resets) return;
    this.#head(end);
    const piece = String.fromCharCode(97 + (this.#letter++ % 26)).repeat(bytes);
    end.sent += piece;
    const buffer = Buffer.from(piece, 'latin1');
    end.stream.sendData(buffer, 0, bytes);
    buffer.fill(0xee);
  }

  end(end: End, trailers: boolean): void {
    if (end.endSent || end.stream.isOver || end.resets) return;
    this.#head(end);
    end.endSent = true;
    end.stream.sendEnd(trailers ? ['checksum', 'abc'] : null);
  }

  reset(end: End): void {
    end.resets = true;
    end.stream.owner = NOBODY;
    end.stream.reset(ErrorCode.Cancel);
  }

  resume(end: End): void {
    end.isPaused = false;
    end.pausesAt = -1;
    end.stream.resume();
  }

  #head(end: End): void {
    if (!end.headSent) end.stream.sendFields(ANSWER, false);
    end.headSent = true;
  }

  /** Everybody reads and ends, and all arrives. */
  settle(): void {
    for (const side of [this.client, this.server]) {
      side.side.blocked = false;
      side.side.connection.drained();
    }
    this.collect();
    for (let rounds = 0; rounds < 10_000; rounds++) {
      for (const { client, server } of this.ends) {
        for (const end of [client, server]) {
          if (end === null) continue;
          end.putsBack = 0;
          this.resume(end);
          this.end(end, false);
        }
      }
      this.collect();
      if (this.client.wire.length === 0 && this.server.wire.length === 0) return;
      this.deliver(this.client, Number.POSITIVE_INFINITY);
      this.deliver(this.server, Number.POSITIVE_INFINITY);
    }
    expect.unreachable('it never comes to rest');
  }

  check(): void {
    for (const { client, server } of this.ends) {
      const reset = client.resets || server === null || server.resets;
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        if (from === null || to === null) continue;
        expect(from.sent.startsWith(to.received)).toBe(true);
        if (!reset) expect(to.received.length).toBe(from.sent.length);
      }
      for (const end of [client, server]) {
        if (end === null || end.resets) continue;
        expect(end.ends + end.resetsTold).toBeGreaterThanOrEqual(1);
        if (!reset) expect([end.ends, end.resetsTold]).toEqual([1, 0]);
      }
    }
    for (const { side } of [this.client, this.server]) {
      expect(side.connection.keptBytes).toBe(0);
      expect(side.connection.writer.waitingBytes).toBe(0);
      expect(side.connection.streamCount).toBe(0);
    }
    expect(this.client.side.over).toBe(this.ends.length);
    expect(this.server.side.over).toBe(this.server.side.began.length);
  }
}

const size = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 300 }) },
  { weight: 2, arbitrary: fc.integer({ min: 4_000, max: 20_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 60_000, max: 200_000 }) },
);
const content = fc.oneof(
  fc.integer({ min: 1, max: 300 }),
  fc.integer({ min: 4_000, max: 20_000 }),
  fc.integer({ min: 60_000, max: 400_000 }),
);
const nth = fc.nat({ max: 2 });
const isClient = fc.boolean();
const step = fc.oneof(
  fc.record({ kind: fc.constant('open' as const), ended: fc.boolean() }),
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('send' as const), nth, isClient, bytes: content }) },
  fc.record({ kind: fc.constant('end' as const), nth, isClient, trailers: fc.boolean() }),
  fc.record({ kind: fc.constant('pause' as const), nth, isClient, after: fc.integer({ min: -1, max: 3 }) }),
  fc.record({ kind: fc.constant('putBack' as const), nth, isClient, times: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ kind: fc.constant('resume' as const), nth, isClient }),
  fc.record({ kind: fc.constant('reset' as const), nth, isClient }),
  fc.record({ kind: fc.constant('refuseRest' as const), nth }),
  fc.record({ kind: fc.constant('block' as const), isClient, blocked: fc.boolean() }),
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('deliver' as const), isClient, bytes: size }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

function play(world: World, each: Step): void {
  if (each.kind === 'open') {
    world.open(each.ended);
    return;
  }
  if (each.kind === 'deliver') {
    world.deliver(each.isClient ? world.client : world.server, each.bytes);
    return;
  }
  if (each.kind === 'block') {
    const { side } = each.isClient ? world.client : world.server;
    side.blocked = each.blocked;
    if (!each.blocked) side.connection.drained();
    return;
  }
  const pair = world.ends[each.nth];
  const end = each.kind === 'refuseRest' || !each.isClient ? pair?.server : pair?.client;
  if (!end) return;
  if (each.kind === 'send') world.send(end, each.bytes);
  else if (each.kind === 'end') world.end(end, each.trailers);
  else if (each.kind === 'resume') world.resume(end);
  else if (each.kind === 'reset') world.reset(end);
  else if (each.kind === 'putBack') end.putsBack = each.times;
  else if (each.kind === 'refuseRest') refuseRest(world, end);
  else if (each.after < 0) {
    end.isPaused = true;
    end.stream.pause();
  } else end.pausesAt = each.after;
}

/** As a server does whose answer is whole: nobody reads the request any more. */
function refuseRest(world: World, end: End): void {
  world.end(end, false);
  end.resets = true;
  end.stream.owner = NOBODY;
  end.stream.resume();
  end.stream.refuseRest();
}

it('bring everything once and in order, within all windows, and keep nothing', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(100, 16_384, 65_535, 262_144),
      fc.constantFrom(100, 16_384, 65_535, 262_144),
      fc.array(step, { maxLength: 60, size: 'max' }),
      (clientWindow, serverWindow, steps) => {
        const world = new World(clientWindow, serverWindow);
        // A window that is narrower than the one that holds where nothing was said is to be known before.
        if (clientWindow < 65_535 || serverWindow < 65_535) world.settle();
        for (const each of steps) {
          play(world, each);
          world.collect();
        }
        world.settle();
        world.check();
      },
    ),
    { numRuns: 150 },
  );
});
