import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { DROP, type RawObject, Store } from './store.ts';

interface Trimmed {
  name: string;
  team: string;
}

const trim = (raw: RawObject): Trimmed | typeof DROP =>
  raw['team'] === 'none' ? DROP : { name: raw.metadata.name, team: String(raw['team']) };

function pod(name: string, team: string, resourceVersion = '1'): RawObject {
  return { metadata: { name, namespace: 'shop', resourceVersion }, team };
}

const newStore = () => new Store<Trimmed>(trim);

test('an object that did not change in what is kept keeps its identity and tells nothing', () => {
  const store = newStore();
  store.set(pod('a', 'red', '1'));
  const before = store.values();
  expect(store.set(pod('a', 'red', '2'))).toBeUndefined();
  expect(store.values()).toBe(before);
  expect(store.set(pod('a', 'blue', '3'))).toMatchObject({
    key: 'shop/a',
    before: { team: 'red' },
    after: { team: 'blue' },
  });
  expect(store.values()).not.toBe(before);
});

test('a replacement tells what is new, what changed and what is gone', () => {
  const store = newStore();
  store.replace([pod('same', 'red'), pod('changes', 'red'), pod('goes', 'red')]);
  const changes = store.replace([pod('same', 'red', '9'), pod('changes', 'blue'), pod('new', 'red')]);
  expect(changes.map(({ key, before, after }) => [key, before?.team, after?.team])).toEqual([
    ['shop/changes', 'red', 'blue'],
    ['shop/new', undefined, 'red'],
    ['shop/goes', 'red', undefined],
  ]);
});

test('what the transformation drops is not there, also where it was before', () => {
  const store = newStore();
  store.set(pod('a', 'red'));
  expect(store.set(pod('a', 'none'))).toMatchObject({ before: { team: 'red' }, after: undefined });
  expect(store.size).toBe(0);
});

test('after any sequence of changes it holds what a plain map would', () => {
  const team = fc.constantFrom('red', 'blue', 'none');
  const name = fc.constantFrom('a', 'b', 'c');
  const change = fc.oneof(
    fc.record({ kind: fc.constant('set' as const), name, team }),
    fc.record({ kind: fc.constant('delete' as const), name, team }),
    fc.record({
      kind: fc.constant('replace' as const),
      all: fc.uniqueArray(fc.tuple(name, team), { selector: ([key]) => key }),
    }),
  );
  fc.assert(
    fc.property(fc.array(change, { maxLength: 40, size: 'max' }), (changes) => {
      const store = newStore();
      const model = new Map<string, string>();
      const put = (key: string, value: string) => (value === 'none' ? model.delete(key) : model.set(key, value));
      for (const one of changes) {
        if (one.kind === 'replace') {
          store.replace(one.all.map(([key, value]) => pod(key, value)));
          model.clear();
          for (const [key, value] of one.all) put(key, value);
        } else if (one.kind === 'set') {
          store.set(pod(one.name, one.team));
          put(one.name, one.team);
        } else {
          store.delete(pod(one.name, one.team));
          model.delete(one.name);
        }
      }
      const expected = [...model].map(([key, value]) => ({ name: key, team: value }));
      const sorted = (values: readonly Trimmed[]) => [...values].sort((a, b) => a.name.localeCompare(b.name));
      expect(sorted(store.values())).toEqual(sorted(expected));
    }),
  );
});
