import { beforeEach, expect, test } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { createOperatorMetrics } from '../metrics.ts';
import { NotLeadingError } from '../watch/fence.ts';
import { type Answer, type Command, ELECTION_TIMES, type LeaseRecord, type StoredLease } from './election.ts';
import { Elector } from './elector.ts';

let clock: ManualClock;
let lease: StoredLease;
let isAway: boolean;

const record = (more: Partial<LeaseRecord> = {}): LeaseRecord => ({
  holder: '',
  durationMs: 0,
  acquiredUnixMs: 0,
  renewedUnixMs: 0,
  transitions: 0,
  ...more,
});

beforeEach(() => {
  clock = new ManualClock();
  lease = { record: record(), revision: '1' };
  isAway = false;
});

function ask(command: Command): Promise<Answer> {
  if (isAway) return Promise.resolve({ kind: 'failed' });
  if (command.kind === 'update') {
    if (command.revision !== lease.revision) return Promise.resolve({ kind: 'conflict' });
    put(command.record);
  }
  return Promise.resolve({ kind: 'lease', lease });
}

function put(next: LeaseRecord): void {
  lease = { record: next, revision: String(Number(lease.revision) + 1) };
}

function replica(identity: string) {
  const metrics = createOperatorMetrics();
  const elector = new Elector({
    store: { ask },
    leaseName: 'operator',
    identity,
    times: ELECTION_TIMES,
    clock,
    random: () => 0.5,
    log: silentLogger,
    metrics,
  });
  const roles: string[] = [];
  elector.onChange(() => roles.push(elector.role));
  elector.start();
  const shown = async () => (await metrics.leader.get()).values[0]?.value;
  return { elector, roles, shown };
}

test('tells who leads, and the signal of a term lives as long as it', async () => {
  const { elector, roles, shown } = replica('a');
  expect(elector.signal.aborted).toBe(true);
  expect(await shown()).toBe(0);
  await clock.advance(0);
  expect(roles).toEqual(['Leading']);
  expect(await shown()).toBe(1);
  const { signal } = elector;
  await clock.advance(600_000);
  expect(signal.aborted).toBe(false);
  isAway = true;
  await clock.advance(8_000);
  expect(signal.aborted).toBe(false);
  await clock.advance(2_000);
  expect(signal.aborted).toBe(true);
  expect(signal.reason).toBeInstanceOf(NotLeadingError);
  isAway = false;
  await clock.advance(2_000);
  expect(roles).toEqual(['Leading', 'Suspended', 'Leading']);
  expect(elector.signal.aborted).toBe(false);
  await elector.stop();
});

test('a process that was stopped for long may not write in the first moment already', async () => {
  const { elector } = replica('a');
  await clock.advance(0);
  clock.block(10_001);
  expect(elector.leftMs()).toBe(0);
  expect(elector.role).toBe('Suspended');
  await elector.stop();
});

test('of two, the other one leads once the first has given the Lease back', async () => {
  const first = replica('a');
  await clock.advance(0);
  const second = replica('b');
  await clock.advance(60_000);
  expect(second.roles).toEqual([]);
  await first.elector.stop();
  expect(lease.record).toMatchObject({ holder: '', durationMs: 1_000 });
  expect(first.elector.signal.aborted).toBe(true);
  await clock.advance(2_000);
  expect(second.roles).toEqual(['Leading']);
  expect(lease.record).toMatchObject({ holder: 'b', transitions: 2 });
  await second.elector.stop();
  expect(clock.timers).toBe(0);
});

test('one that lost asks no more, and gives nothing back', async () => {
  const { elector, roles } = replica('a');
  await clock.advance(0);
  put(record({ holder: 'b', durationMs: 15_000, transitions: 2 }));
  await clock.advance(2_000);
  expect(roles).toEqual(['Leading', 'Lost']);
  await elector.stop();
  expect(lease.record.holder).toBe('b');
  expect(clock.timers).toBe(0);
});
