import { expect, test } from 'vitest';
import { settle } from '../../runtime/manual-clock.ts';
import { Duties } from './duties.ts';
import type { Role } from './election.ts';

test('a duty follows the lead, one step after the other', async () => {
  const happened: string[] = [];
  let role: Role = 'Following';
  let tell = () => {};
  let finishStop = () => {};
  const duties = new Duties(
    {
      get role() {
        return role;
      },
      leftMs: () => 0,
      signal: new AbortController().signal,
      onChange(listener) {
        tell = listener;
        return () => (tell = () => {});
      },
    },
    {
      start: () => happened.push('start'),
      stop: () =>
        new Promise((resolve) => {
          happened.push('stopping');
          finishStop = () => {
            happened.push('stopped');
            resolve();
          };
        }),
    },
  );
  const become = async (next: Role) => {
    role = next;
    tell();
    await settle();
  };
  await become('Leading');
  expect(happened).toEqual([]);
  role = 'Following';
  await duties.start();
  expect(happened).toEqual([]);
  await become('Leading');
  await become('Suspended');
  await become('Leading');
  expect(happened).toEqual(['start', 'stopping']);
  finishStop();
  await settle();
  expect(happened).toEqual(['start', 'stopping', 'stopped', 'start']);
  const stopped = duties.stop();
  await settle();
  finishStop();
  await stopped;
  await become('Leading');
  expect(happened.slice(4)).toEqual(['stopping', 'stopped']);
});
