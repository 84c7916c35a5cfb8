import { expect, it } from 'vitest';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { Announcer, type ReadyMessage } from './announcer.ts';

function bench() {
  const clock = new ManualClock();
  const state = { admin: null as string | null, addresses: {} as Record<string, string>, expected: 0 };
  const announced: ReadyMessage[] = [];
  const announcer = new Announcer({
    admin: () => state.admin,
    addresses: () => state.addresses,
    expected: () => state.expected,
    announce: (message) => announced.push(message),
    clock,
  });
  return { clock, state, announced, announcer };
}

it('says nothing before it is ready', async () => {
  const { clock, announced, announcer } = bench();
  announcer.look();
  await clock.advance(10_000);
  expect(announced).toEqual([]);
});

it('waits until every dependency of the plan has an address', async () => {
  const { clock, state, announced, announcer } = bench();
  Object.assign(state, { admin: 'http://127.0.0.1:1', expected: 2, addresses: { payments: '127.0.0.1:2' } });
  announcer.look();
  await clock.advance(100);
  expect(announced).toEqual([]);
  state.addresses = { payments: '127.0.0.1:2', inventory: '127.0.0.1:3' };
  await clock.advance(5);
  expect(announced).toEqual([{ ready: true, admin: 'http://127.0.0.1:1', dependencies: state.addresses }]);
  expect(clock.timers).toBe(0);
});

it('says what it has when an address does not come, and again only when something changed', async () => {
  const { clock, state, announced, announcer } = bench();
  Object.assign(state, { admin: 'http://127.0.0.1:1', expected: 1 });
  announcer.look();
  await clock.advance(2_000);
  expect(announced).toHaveLength(1);
  state.expected = 0;
  announcer.look();
  expect(announced).toHaveLength(1);
  Object.assign(state, { expected: 1, addresses: { payments: '127.0.0.1:2' } });
  announcer.look();
  expect(announced).toHaveLength(2);
});
