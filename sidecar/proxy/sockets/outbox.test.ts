import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import { array, assert, boolean, constantFrom, integer, nat, option, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Outbox } from './outbox.ts';

/** A peer that takes each write at once, or only when it is asked to: what lies there by then is what it gets. */
class Peer {
  stalls = false;
  /** Happens inside of a write that is taken at once. */
  meanwhile: () => void = () => {};
  readonly sent: Buffer[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly stream = new Writable({
    decodeStrings: false,
    highWaterMark: 1,
    write: (chunk: Buffer | string, encoding, done) => {
      const take = (): void => {
        this.sent.push(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : Buffer.from(chunk));
        done();
      };
      if (this.stalls) {
        this.#waiting.push(take);
        return;
      }
      this.meanwhile();
      take();
    },
  });
  readonly out = new Outbox(this.stream as unknown as Socket);

  readOn(): void {
    this.stalls = false;
    for (const take of this.#waiting.splice(0)) take();
  }

  get received(): string {
    return Buffer.concat(this.sent).toString('latin1');
  }
}

const PEERS = 3;
const write = record({
  peer: nat(PEERS - 1),
  stalls: boolean(),
  text: constantFrom('', 'head\r\n\r\n'),
  bytes: constantFrom(0, 1, 4_096, 4_097, 20_000, 60_000, 65_536, 98_296, 98_304, 200_000),
  fill: integer({ min: 0x61, max: 0x7a }),
});
/** A write, and another one to somebody else that happens inside of it where it is taken at once. */
const step = record({ outer: write, inner: option(write) });

describe('the outbox', () => {
  it('sends the bytes of a buffer that is read into again, whoever else writes and whoever stalls', () => {
    let inside = 0;
    assert(
      property(array(step, { maxLength: 40, size: 'max' }), (steps) => {
        const peers = Array.from({ length: PEERS }, () => new Peer());
        const expected = peers.map(() => '');
        const send = ({ peer: number, stalls, text, bytes, fill }: Parameters<Parameters<typeof write.map>[0]>[0]) => {
          const peer = peers[number] ?? new Peer();
          if (stalls) peer.stalls = true;
          else peer.readOn();
          const read = Buffer.alloc(200_010, fill);
          peer.out.text(text);
          peer.out.bytes(read, 10, 10 + bytes);
          peer.out.flush();
          read.fill('!');
          expected[number] += text + String.fromCharCode(fill).repeat(bytes);
        };
        for (const { outer, inner } of steps) {
          const peer = peers[outer.peer];
          if (peer && inner && inner.peer !== outer.peer)
            peer.meanwhile = () => {
              peer.meanwhile = () => {};
              inside += 1;
              send(inner);
            };
          send(outer);
          if (peer) peer.meanwhile = () => {};
        }
        for (const peer of peers) while (peer.stream.writableLength > 0) peer.readOn();
        expect(peers.map(({ received }) => received)).toEqual(expected);
      }),
      { numRuns: 40 },
    );
    expect(inside).toBeGreaterThan(20);
  });

  it('keeps what waits for a peer where a write inside of another one went on to the next buffer', () => {
    const [first, outer, inner, last] = [new Peer(), new Peer(), new Peer(), new Peer()];
    const write = ({ out }: Peer, bytes: number, letter: string) => out.bytes(Buffer.alloc(bytes, letter), 0, bytes);
    first.stalls = true;
    inner.stalls = true;
    // So that the next one begins a buffer.
    write(first, 98_300, 'f');
    outer.meanwhile = () => write(inner, 60_000, 'i');
    write(outer, 60_000, 'o');
    write(last, 60_000, 'l');
    inner.readOn();
    expect(inner.received === 'i'.repeat(60_000)).toBe(true);
  });

  it('writes a head and the body behind it at once', () => {
    const peer = new Peer();
    peer.out.text('head');
    peer.out.bytes(Buffer.alloc(5_000, 'x'), 0, 5_000);
    peer.out.flush();
    expect(peer.sent.map(({ length }) => length)).toEqual([5_004]);
  });

  it('says what a peer left unread, and counts what was handed over', () => {
    const peer = new Peer();
    peer.stalls = true;
    peer.out.bytes(Buffer.alloc(5_000), 0, 5_000);
    expect([peer.out.blocked, peer.out.flush(), peer.out.writes]).toEqual([true, false, 1]);
    peer.readOn();
    expect([peer.out.flush(), peer.out.writes]).toEqual([true, 1]);
  });
});
