import { describe, expect, it } from 'vitest';
import { CalmRounds, disturbanceOf, type Round } from './calm-rounds.ts';
import type { Slice } from './measure.ts';

const slice = (steal: number, proxyCpuOthers = 0): Slice => ({
  load: {
    requests: 1,
    durationMicros: 1,
    bytes: 1,
    p50Micros: 1,
    p99Micros: 1,
    socketErrors: 0,
    timeouts: 0,
    badStatuses: 0,
  },
  cpuMicrosPerRequest: 1,
  idleCpuMicros: 0,
  requestsPerSecond: 1,
  rssBytes: 1,
  anonymousBytes: 1,
  loadCpuBusy: 1,
  proxyCpuOthers,
  steal,
});
const round = (...steals: number[]): Round => new Map(steals.map((steal, index) => [`proxy${index}`, slice(steal)]));

function measure(asked: number, steals: readonly number[]) {
  const rounds = new CalmRounds(asked);
  const measured: Round[] = [];
  for (const steal of steals) {
    if (rounds.areEnough) break;
    measured.push(round(0, steal));
    rounds.add(measured.at(-1) ?? new Map());
  }
  return { rounds, measured };
}

describe('calm rounds', () => {
  it('a round is as disturbed as its worst slice, by the host and by other processes together', () => {
    expect(disturbanceOf(round(0.01, 0.3, 0.02))).toBe(0.3);
    expect(disturbanceOf(new Map([['envoy', slice(0.06, 0.05)]]))).toBeCloseTo(0.11);
  });

  it('are those that were asked for where nothing disturbs them', () => {
    const { rounds, measured } = measure(3, [0, 0.09, 0.05, 0]);
    expect(measured).toHaveLength(3);
    expect(rounds.counted()).toEqual({ rounds: measured, disturbed: 0, stillDisturbed: 0 });
  });

  it('make up for a disturbed one', () => {
    const { rounds, measured } = measure(3, [0, 0.5, 0.05, 0, 0]);
    expect(measured).toHaveLength(4);
    expect(rounds.counted()).toEqual({
      rounds: [measured[0], measured[2], measured[3]],
      disturbed: 1,
      stillDisturbed: 0,
    });
  });

  it('are the calmest of twice as many where the machine never rests, and say how many of them were disturbed', () => {
    const { rounds, measured } = measure(2, [0.2, 0.6, 0.01, 0.3, 0, 0]);
    expect(measured).toHaveLength(4);
    expect(rounds.counted()).toEqual({ rounds: [measured[0], measured[2]], disturbed: 3, stillDisturbed: 1 });
  });

  it('tell of each round whether it was calm', () => {
    const rounds = new CalmRounds(2);
    expect([rounds.add(round(0.0999)), rounds.add(round(0.1))]).toEqual([true, false]);
  });
});
