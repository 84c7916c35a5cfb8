import { assert, integer, property, record } from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../runtime/random.ts';
import { type Answer, type Command, ELECTION_TIMES, Election, type LeaseRecord } from './election.ts';
import { type Faults, LeaseSimulation } from './testing/simulated-lease.ts';

const NONE: Faults = {
  maxDelayMs: 20,
  lossPercent: 0,
  pausePercent: 0,
  maxPauseMs: 0,
  deletePercent: 0,
  driftPercent: 0,
};

function simulate(faults: Partial<Faults> = {}, seed = 1): LeaseSimulation {
  return new LeaseSimulation(seededRandom(seed), ELECTION_TIMES, { ...NONE, ...faults });
}

describe('several replicas', () => {
  test('one leads at once, and stays', () => {
    const simulation = simulate();
    for (let replica = 0; replica < 3; replica += 1) simulation.start();
    simulation.advance(600_000);
    expect(simulation.leaders).toHaveLength(1);
    expect(simulation.longestGapMs).toBeLessThan(100);
    expect(simulation.lease?.record).toMatchObject({ holder: simulation.leader, transitions: 1, durationMs: 15_000 });
  });

  test('when the leader is killed another one leads within 20 s, and not before its time is over', () => {
    const gaps = Array.from({ length: 50 }, (_, seed) => {
      const simulation = simulate({}, seed + 1);
      for (let replica = 0; replica < 3; replica += 1) simulation.start();
      simulation.advance(10_000 + seed * 37);
      const { leader = '', now } = simulation;
      simulation.kill(leader);
      while (simulation.leader === undefined) simulation.advance(10);
      expect(simulation.leader).not.toBe(leader);
      return simulation.now - now;
    });
    expect(Math.max(...gaps)).toBeLessThan(18_000);
    expect(Math.min(...gaps)).toBeGreaterThan(12_000);
  });

  test('when the leader is told to stop another one leads within 3 s', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const simulation = simulate({}, seed);
      for (let replica = 0; replica < 2; replica += 1) simulation.start();
      simulation.advance(5_000 + seed * 37);
      const { leader = '', now } = simulation;
      simulation.stop(leader);
      while (simulation.leader === undefined) simulation.advance(10);
      expect(simulation.now - now).toBeLessThan(2_500);
      expect(simulation.lease?.record.transitions).toBe(2);
    }
  });

  test('a Lease that somebody deletes is made anew by the one that holds it', () => {
    const simulation = simulate({ deletePercent: 2 });
    simulation.start();
    simulation.start();
    simulation.advance(600_000);
    expect(simulation.leaders).toHaveLength(1);
  });

  test.each([
    ['late, lost or stopped', { maxDelayMs: 40_000, deletePercent: 0 }],
    ['lost, stopped or deleted', { maxDelayMs: 4_000, deletePercent: 5 }],
  ])('never may two write at the same moment, whatever is %s', (_what, limits) => {
    let handovers = 0;
    const faults = record({
      maxDelayMs: integer({ min: 0, max: limits.maxDelayMs }),
      lossPercent: integer({ min: 0, max: 40 }),
      pausePercent: integer({ min: 0, max: 20 }),
      maxPauseMs: integer({ min: 0, max: 90_000 }),
      deletePercent: integer({ min: 0, max: limits.deletePercent }),
      driftPercent: integer({ min: 0, max: 10 }),
    });
    assert(
      property(faults, integer({ min: 1, max: 2 ** 31 - 1 }), integer({ min: 2, max: 5 }), (given, seed, replicas) => {
        const random = seededRandom(seed);
        const simulation = new LeaseSimulation(random, ELECTION_TIMES, given);
        const alive = Array.from({ length: replicas }, () => simulation.start());
        for (let turn = 0; turn < 30; turn += 1) {
          simulation.advance(random() * 60_000);
          // A process that ends, in one way or the other, is followed by a new one.
          const [ended = ''] = alive.splice(Math.floor(random() * alive.length), 1);
          if (random() < 0.5) simulation.kill(ended);
          else simulation.stop(ended);
          alive.push(simulation.start());
        }
        handovers += simulation.leaders.length;
        expect(simulation.violations).toEqual([]);
      }),
      { numRuns: 150, seed: 7 },
    );
    // Without handovers it would have shown nothing.
    expect(handovers).toBeGreaterThan(500);
  });
});

describe('one replica', () => {
  const OTHER: LeaseRecord = {
    holder: 'other',
    durationMs: 15_000,
    acquiredUnixMs: 1,
    renewedUnixMs: 2,
    transitions: 4,
  };
  const lease = (record: LeaseRecord, revision = '1'): Answer => ({ kind: 'lease', lease: { record, revision } });

  /** Puts the answers to the commands of one round; gives the commands. */
  function round(
    election: Election,
    nowMs: number,
    ...answers: (Answer | ((command: Command) => Answer))[]
  ): Command[] {
    const commands: Command[] = [];
    for (let command = election.next(nowMs, nowMs); command !== undefined; command = election.next(nowMs, nowMs)) {
      commands.push(command);
      const answer = answers.shift();
      if (answer === undefined) throw new Error(`no answer to ${JSON.stringify(command)}`);
      election.answered(command, typeof answer === 'function' ? answer(command) : answer, nowMs, nowMs);
    }
    return commands;
  }

  const accept =
    (revision: string) =>
    (command: Command): Answer =>
      command.kind === 'read' ? { kind: 'failed' } : lease(command.record, revision);

  const leading = () => {
    const election = new Election('me', ELECTION_TIMES, () => 0);
    round(election, 0, lease({ ...OTHER, holder: '' }), accept('2'));
    expect(election.role(0)).toBe('Leading');
    return election;
  };

  test('measures by its own clock, from when it saw the Lease change last', () => {
    const election = new Election('me', ELECTION_TIMES, () => 0);
    // Renewed long ago or in the far future, by a clock that nobody knows.
    round(election, 0, lease({ ...OTHER, renewedUnixMs: 1 }));
    round(election, 14_000, lease({ ...OTHER, renewedUnixMs: 1e13 }));
    expect(round(election, 28_999, lease({ ...OTHER, renewedUnixMs: 1e13 }))).toHaveLength(1);
    const [, taken] = round(election, 29_000, lease({ ...OTHER, renewedUnixMs: 1e13 }, '9'), accept('10'));
    expect(taken).toEqual({
      kind: 'update',
      revision: '9',
      record: { holder: 'me', durationMs: 15_000, acquiredUnixMs: 29_000, renewedUnixMs: 29_000, transitions: 5 },
    });
  });

  test('renews without reading, and may write for ten seconds from when it asked', () => {
    const election = leading();
    const command = election.next(2_000, 2_000);
    expect(command).toMatchObject({
      kind: 'update',
      revision: '2',
      record: { acquiredUnixMs: 0, renewedUnixMs: 2_000 },
    });
    if (command?.kind !== 'update') throw new Error('no update');
    election.answered(command, lease(command.record, '3'), 2_000, 4_000);
    expect(election.leftMs(4_000)).toBe(8_000);
  });

  test('is suspended when it could not renew, and leads on when nobody else did meanwhile', () => {
    const election = leading();
    for (let nowMs = 2_000; nowMs < 60_000; nowMs += 2_000) {
      expect(election.role(nowMs)).toBe(nowMs < 10_000 ? 'Leading' : 'Suspended');
      round(election, nowMs, { kind: 'failed' });
    }
    const mine = { ...OTHER, holder: 'me' };
    const commands = round(election, 60_000, lease(mine, '2'), accept('3'));
    expect(commands.map(({ kind }) => kind)).toEqual(['read', 'update']);
    expect(election.leftMs(60_000)).toBe(10_000);
  });

  test.each([
    ['another holds it', lease(OTHER, '5')],
    ['nobody holds it, so somebody did', lease({ ...OTHER, holder: '' }, '5')],
  ])('has lost where %s', (_what, seen) => {
    const election = leading();
    round(election, 2_000, { kind: 'conflict' }, seen);
    expect(election.role(2_000)).toBe('Lost');
    expect(election.leftMs(2_000)).toBe(0);
    expect(election.next(4_000, 4_000)).toBeUndefined();
    expect(election.release(4_000)).toBeUndefined();
  });

  test('a conflict that only a label made loses nothing', () => {
    const election = leading();
    const commands = round(election, 2_000, { kind: 'conflict' }, lease({ ...OTHER, holder: 'me' }, '7'), accept('8'));
    expect(commands.map(({ kind }) => kind)).toEqual(['update', 'read', 'update']);
    expect(election.role(2_000)).toBe('Leading');
  });

  test('does not lead by an answer that came too late', () => {
    const election = new Election('me', ELECTION_TIMES, () => 0);
    round(election, 0, lease({ ...OTHER, holder: '' }), (command) => {
      expect(command.kind).toBe('update');
      return { kind: 'failed' };
    });
    const read = election.next(2_000, 2_000);
    if (read === undefined) throw new Error('nothing asked');
    election.answered(read, lease({ ...OTHER, holder: '' }), 2_000, 2_000);
    const update = election.next(2_000, 2_000);
    if (update?.kind !== 'update') throw new Error('no update');
    election.answered(update, lease(update.record, '9'), 2_000, 12_001);
    expect(election.role(12_001)).toBe('Following');
  });

  test('a Lease that vanished is made anew by others only when whoever held it has stopped', () => {
    const election = new Election('me', ELECTION_TIMES, () => 0);
    round(election, 0, lease(OTHER));
    for (let nowMs = 2_000; nowMs < 17_000; nowMs += 3_000) round(election, nowMs, { kind: 'absent' });
    const commands = round(election, 17_000, { kind: 'absent' }, accept('1'));
    expect(commands[1]).toMatchObject({ kind: 'create', record: { holder: 'me', transitions: 5 } });
  });

  test('nobody knows what was before a Lease that was never there, so it waits', () => {
    const election = new Election('me', ELECTION_TIMES, () => 0);
    for (let nowMs = 0; nowMs < 15_000; nowMs += 3_000) round(election, nowMs, { kind: 'absent' });
    expect(round(election, 15_000, { kind: 'absent' }, accept('1'))).toHaveLength(2);
    round(election, 22_000, accept('2'));
    expect(election.role(22_000)).toBe('Following');
    round(election, 24_000, accept('3'));
    expect(election.role(24_000)).toBe('Leading');
  });

  test('one that is suspended does not make the Lease anew: somebody may have led meanwhile', () => {
    const election = leading();
    round(election, 2_000, { kind: 'failed' });
    round(election, 11_000, { kind: 'absent' });
    expect(election.role(11_000)).toBe('Lost');
  });

  test('gives back what it holds, and nothing else', () => {
    const election = leading();
    expect(election.release(3_000)).toEqual({
      kind: 'update',
      revision: '2',
      record: { holder: '', durationMs: 1_000, acquiredUnixMs: 0, renewedUnixMs: 3_000, transitions: 5 },
    });
    expect(election.leftMs(3_000)).toBe(0);
    const follower = new Election('me', ELECTION_TIMES, () => 0);
    round(follower, 0, lease(OTHER));
    expect(follower.release(0)).toBeUndefined();
  });

  test('a Lease of absurd length keeps nobody out for ever', () => {
    const election = new Election('me', ELECTION_TIMES, () => 0);
    round(election, 0, lease({ ...OTHER, durationMs: 1e12 }));
    expect(round(election, 3_600_000, lease({ ...OTHER, durationMs: 1e12 }), accept('2'))).toHaveLength(2);
  });
});
