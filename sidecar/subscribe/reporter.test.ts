import { expect, it } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { OperatorError } from './operator-client.ts';
import { Reporter } from './reporter.ts';

function bench() {
  const clock = new ManualClock();
  const posts: { atMs: number; path: string; body: unknown }[] = [];
  const state = { fault: null as OperatorError | null };
  const reporter = new Reporter({
    post: async (path, body) => {
      posts.push({ atMs: clock.monotonicMs(), path, body });
      if (state.fault) throw state.fault;
    },
    circuits: () => [],
    locallyDisabled: () => false,
    clock,
    random: () => 0.5,
    log: silentLogger,
  });
  return { clock, posts, state, reporter };
}

it('does not wait any longer when the operator is back', async () => {
  const { clock, posts, state, reporter } = bench();
  state.fault = new OperatorError('unreachable', 'nobody there');
  reporter.verdict('plan', { version: 'v1', applied: true, message: '' });
  await clock.advance(60_000);
  const tries = posts.length;
  // Full backoff: at most one try in five seconds.
  expect(tries).toBeGreaterThan(5);
  expect(tries).toBeLessThan(20);
  state.fault = null;
  reporter.operatorIsBack();
  await clock.advance(1);
  expect(posts.slice(tries).map(({ path }) => path)).toEqual(['/v1/acknowledgements', '/v1/circuits']);
});

it('drops a report that the operator finds wrong, and sends the next one', async () => {
  const { clock, posts, state, reporter } = bench();
  state.fault = new OperatorError('unexpected-answer', 'the operator answered 400');
  reporter.circuitsChanged();
  await clock.advance(60_000);
  expect(posts).toHaveLength(1);
  state.fault = null;
  reporter.verdict('endpoints', { version: 'e1', applied: true, message: '' });
  reporter.verdict('endpoints', { version: 'e2', applied: true, message: '' });
  await clock.advance(1_000);
  expect(posts.slice(1).map(({ body }) => body)).toEqual([
    expect.objectContaining({ stream: 'endpoints', version: 'e2' }),
  ]);
});

it('leaves no timer', async () => {
  const { clock, posts, reporter } = bench();
  reporter.circuitsChanged();
  reporter.close();
  await clock.advance(60_000);
  expect(posts).toEqual([]);
  expect(clock.timers).toBe(0);
});
