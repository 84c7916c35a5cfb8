import { describe, expect, it } from 'vitest';
import { CircuitHistory } from './circuit-history.ts';
import type { ShownCircuit } from './sidecar-metrics.ts';

function looks(...seen: [begunMs: number, circuit: ShownCircuit, transitions: number][]): CircuitHistory {
  const history = new CircuitHistory();
  for (const [begunMs, circuit, transitions] of seen)
    history.add({ begunMs, endedMs: begunMs + 3, circuit, transitions });
  return history;
}

describe('history of a circuit', () => {
  it('calls open only what two looks prove', () => {
    const history = looks(
      [0, 'closed', 0],
      [100, 'open', 1],
      [200, 'open', 1],
      [300, 'open', 1],
      [400, 'half-open', 2],
    );
    expect(history.openIntervals()).toEqual([{ from: 103, to: 300 }]);
    expect(history.openIntervals(50)).toEqual([{ from: 153, to: 300 }]);
    expect(history.openIntervals(200)).toEqual([]);
  });

  it('does not take two open times for one', () => {
    const history = looks([0, 'open', 1], [100, 'open', 1], [200, 'open', 3], [300, 'open', 3]);
    expect(history.openIntervals()).toEqual([
      { from: 3, to: 100 },
      { from: 203, to: 300 },
    ]);
  });

  it('is closed only after it was open', () => {
    expect(looks([0, 'closed', 0])).toMatchObject({ opened: false, closed: false });
    expect(looks([0, 'open', 1])).toMatchObject({ opened: true, closed: false });
    expect(looks([0, 'open', 1], [1, 'half-open', 2])).toMatchObject({ opened: true, closed: false });
    expect(looks([0, 'open', 1], [1, 'half-open', 2], [2, 'closed', 3])).toMatchObject({ opened: true, closed: true });
  });

  it('tells every change once', () => {
    const history = new CircuitHistory();
    const look = (circuit: ShownCircuit, transitions: number) =>
      history.add({ begunMs: 0, endedMs: 1, circuit, transitions });
    expect(
      [look('closed', 0), look('open', 1), look('open', 1), look('closed', 3)].map((change) => change?.to),
    ).toEqual([undefined, 'open', undefined, 'closed']);
  });
});
