import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import type { EndpointsSnapshot } from './snapshots.ts';
import { EndpointsSource } from './sources.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

const snapshot = (version: string): EndpointsSnapshot => ({ version, sets: new Map(), publishedAtMs: 0 });

test('a stream that was sent everything holds none of it: each of thousands would keep its megabytes until the next change', async () => {
  let made: WeakRef<Buffer>[] = [];
  const framesBetween = () => {
    const frames = ['one\n', 'two\n', 'three\n'].map((text) => Buffer.from(text));
    made = frames.map((frame) => new WeakRef(frame));
    return frames;
  };
  const source = new EndpointsSource(snapshot('v1'), undefined, framesBetween, () => {});
  const sent = () => {
    const texts: string[] = [];
    for (let frame = source.next(); frame !== undefined; frame = source.next()) texts.push(frame.toString());
    return texts;
  };
  expect(sent()).toEqual(['one\n', 'two\n', 'three\n']);
  // What a WeakRef gave is held until the turn is over.
  await new Promise((resolve) => setImmediate(resolve));
  collect();
  expect(made.map((ref) => ref.deref())).toEqual([undefined, undefined, undefined]);
  source.retarget(snapshot('v2'));
  expect(sent()).toEqual(['one\n', 'two\n', 'three\n']);
});
