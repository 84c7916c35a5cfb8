import { expect, it } from 'vitest';
import { StateTable } from './state-table.ts';

interface Plan {
  stateKey: string;
  limit: number;
}

function table() {
  let made = 0;
  return new StateTable<Plan, { id: number; limits: number[] }>({
    create: ({ limit }) => ({ id: ++made, limits: [limit] }),
    update: (state, { limit }) => state.limits.push(limit),
  });
}

function apply(states: ReturnType<typeof table>, ...plans: Plan[]) {
  states.begin();
  const taken = plans.map((plan) => states.take(plan));
  states.end();
  return taken;
}

it('keeps the state of a key over plans, with the numbers of the last', () => {
  const states = table();
  const [first] = apply(states, { stateKey: 'base', limit: 1 });
  const [second] = apply(states, { stateKey: 'base', limit: 2 });
  expect(second).toBe(first);
  expect(second?.limits).toEqual([1, 2]);
});

it('shares one state among the rows of a plan that name the same key, and updates it once', () => {
  const states = table();
  apply(states, { stateKey: 'base', limit: 1 });
  const [one, other] = apply(states, { stateKey: 'base', limit: 2 }, { stateKey: 'base', limit: 2 });
  expect(one).toBe(other);
  expect(one?.limits).toEqual([1, 2]);
});

it('forgets what a plan does not name: it begins anew when it comes back', () => {
  const states = table();
  apply(states, { stateKey: 'a', limit: 1 }, { stateKey: 'b', limit: 1 });
  apply(states, { stateKey: 'b', limit: 1 });
  expect(Array.from(states.entries(), ([key]) => key)).toEqual(['b']);
  const [again] = apply(states, { stateKey: 'a', limit: 1 });
  expect(again).toEqual({ id: 3, limits: [1] });
});

it('has no state for a row without such a policy', () => {
  const states = table();
  states.begin();
  expect(states.take(null)).toBeNull();
  states.end();
  expect(Array.from(states.values())).toEqual([]);
});
