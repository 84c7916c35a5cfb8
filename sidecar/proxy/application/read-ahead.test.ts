// Held to a model that is a string: whatever is kept, taken up and kept again, each byte comes once, in its order.
import { array, assert, boolean, nat, property, record } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { READ_AHEAD_BYTES, ReadAhead } from './read-ahead.ts';

class CountedSocket {
  readonly calls: string[] = [];

  pause = (): never => this.#called('pause');
  resume = (): never => this.#called('resume');

  #called(name: string): never {
    this.calls.push(name);
    return this as never;
  }
}

describe('what is read ahead', () => {
  it('comes whole and in its order, whoever reads into the buffer again', () => {
    const step = record({ bytes: nat({ max: 12 }), taken: nat({ max: 20 }), lent: boolean(), takenUp: boolean() });
    let keptOnes = 0;
    assert(
      property(array(step, { maxLength: 60, size: 'max' }), (steps) => {
        const ahead = new ReadAhead(new CountedSocket());
        const shared = Buffer.alloc(16);
        let [sent, seen] = ['', ''];
        const take = (data: Buffer, taken: number, lent: boolean): void => {
          const position = Math.min(taken, data.length);
          seen += data.toString('latin1', 0, position);
          if (position < data.length) ahead.keep(data, position, data.length, lent);
          expect(ahead.bytes).toBe(sent.length - seen.length);
          expect(ahead.isEmpty).toBe(sent.length === seen.length);
          if (!ahead.isEmpty) keptOnes += 1;
        };
        for (const [index, { bytes, taken, lent, takenUp }] of steps.entries()) {
          const text = String.fromCharCode(...Array.from({ length: bytes }, (_, at) => (index * 7 + at) % 256));
          const isLent = lent && ahead.isEmpty;
          shared.write(text, 'latin1');
          sent += text;
          const chunk = shared.subarray(0, bytes);
          take(ahead.takeBefore(isLent ? chunk : Buffer.from(chunk)), taken, isLent);
          shared.fill(0xff);
          const kept = takenUp ? ahead.take() : null;
          if (kept) take(kept, taken, false);
        }
        seen += ahead.take()?.toString('latin1') ?? '';
        expect(seen).toBe(sent);
        expect(ahead.take()).toBeNull();
      }),
    );
    expect(keptOnes).toBeGreaterThan(100);
  });

  it('is full at its bound', () => {
    const ahead = new ReadAhead(new CountedSocket());
    const data = Buffer.alloc(READ_AHEAD_BYTES);
    expect(ahead.isFull).toBe(false);
    ahead.keep(data, 1, data.length, false);
    expect(ahead.isFull).toBe(false);
    ahead.keep(data, 0, data.length, true);
    expect(ahead.isFull).toBe(true);
  });

  it('asks its socket only for what changes', () => {
    const socket = new CountedSocket();
    const ahead = new ReadAhead(socket);
    ahead.resume();
    ahead.pause();
    ahead.resume();
    ahead.resume();
    expect(socket.calls).toEqual(['pause', 'resume']);
  });
});
