import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { ByteQueue } from './byte-queue.ts';

const piece = fc.string({ minLength: 1, maxLength: 6_000, size: 'max', unit: fc.constantFrom('a', 'b', 'c') });
const step = fc.oneof(
  fc.record({ kind: fc.constant('add' as const), text: piece }),
  fc.record({ kind: fc.constant('addFirst' as const), text: piece }),
  fc.record({ kind: fc.constant('drop' as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
  fc.record({ kind: fc.constant('clear' as const) }),
);

it('hands out what it was given, in order, whatever is taken of it between', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const queue = new ByteQueue();
      let model = '';
      for (const each of steps) {
        if (each.kind === 'clear') {
          queue.clear();
          model = '';
        } else if (each.kind === 'drop') {
          const first = queue.first();
          const bytes = Math.ceil((first?.length ?? 0) * each.part);
          expect(first?.latin1Slice() ?? '').toBe(model.slice(0, first?.length ?? 0));
          queue.drop(bytes);
          model = model.slice(bytes);
        } else {
          const bytes = Buffer.from(`-${each.text}-`, 'latin1');
          queue[each.kind](bytes, 1, bytes.length - 1);
          model = each.kind === 'add' ? model + each.text : each.text + model;
          bytes.fill(0);
        }
        expect(queue.bytes).toBe(model.length);
        expect(queue.first() === null).toBe(model === '');
      }
      let rest = '';
      for (let first = queue.first(); first !== null; first = queue.first()) {
        rest += first.latin1Slice();
        queue.drop(first.length);
      }
      expect(rest).toBe(model);
      expect(queue.bytes).toBe(0);
    }),
  );
});

it('gathers what comes byte by byte', () => {
  const queue = new ByteQueue();
  const byte = Buffer.from('a');
  for (let nth = 0; nth < 65_536; nth++) queue.add(byte, 0, 1);
  let pieces = 0;
  for (let first = queue.first(); first !== null; first = queue.first()) {
    pieces++;
    queue.drop(first.length);
  }
  expect(pieces).toBeLessThanOrEqual(17);
});
