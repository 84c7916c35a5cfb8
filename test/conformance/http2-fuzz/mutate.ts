// Changes of a talk: what is nearly right comes further than noise.
import type { Random } from '../../../runtime/random.ts';
import { oneOf, upTo } from '../garden/mutate.ts';
import type { Step } from './script.ts';

const MOST_COPIES = 60;

/** Changes one write: `change` is given a copy of it. */
const byBytes =
  (change: (bytes: Buffer, random: Random) => readonly Step[]) =>
  (steps: Step[], random: Random): void => {
    const writes = steps.flatMap((step, index) => (typeof step === 'string' || step.length === 0 ? [] : [index]));
    if (writes.length === 0) return;
    const at = oneOf(random, writes);
    steps.splice(at, 1, ...change(Buffer.from(steps[at] as Buffer), random));
  };

const CHANGES: readonly ((steps: Step[], random: Random) => void)[] = [
  byBytes((bytes, random) => {
    const at = upTo(random, bytes.length);
    bytes[at] = (bytes[at] ?? 0) ^ (1 << upTo(random, 8));
    return [bytes];
  }),
  // The head of a frame: length, type, flags, stream.
  byBytes((bytes, random) => {
    bytes[upTo(random, Math.min(9, bytes.length))] = upTo(random, 256);
    return [bytes];
  }),
  byBytes((bytes, random) => [bytes.subarray(0, upTo(random, bytes.length))]),
  byBytes((bytes, random) => {
    const at = upTo(random, bytes.length);
    return [bytes.subarray(0, at), oneOf(random, ['turn', 'listen'] as const), bytes.subarray(at)];
  }),
  byBytes((bytes, random) => Array.from({ length: 2 + upTo(random, MOST_COPIES) }, () => bytes)),
  byBytes((bytes, random) => [
    bytes,
    Buffer.from(Array.from({ length: 1 + upTo(random, 30) }, () => upTo(random, 256))),
  ]),
  (steps, random) => void steps.splice(upTo(random, steps.length), 1),
  (steps, random) => void steps.splice(upTo(random, steps.length), 0, oneOf(random, steps)),
  (steps, random) => {
    const [moved] = steps.splice(upTo(random, steps.length), 1);
    if (moved !== undefined) steps.splice(upTo(random, steps.length + 1), 0, moved);
  },
  (steps, random) => void steps.splice(upTo(random, steps.length + 1)),
  (steps, random) =>
    void steps.splice(upTo(random, steps.length + 1), 0, oneOf(random, ['pause', 'resume', 'end', 'reset', 'turn'])),
];

/** With up to three changes, or none. */
export function mutatedSteps(steps: readonly Step[], random: Random): Step[] {
  const changed = [...steps];
  for (let left = upTo(random, 4); left > 0 && changed.length > 0; left--) oneOf(random, CHANGES)(changed, random);
  return changed;
}
