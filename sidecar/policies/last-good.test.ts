import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { LastGoodPlan } from '../../plan/policies/fallback.ts';
import { ANSWER_OVERHEAD_BYTES, type BytePool, LastGood, MAX_VARIANTS, Recording } from './last-good.ts';

const plan = (changes: Partial<LastGoodPlan> = {}): LastGoodPlan => ({
  maxAgeMs: 60_000,
  maxBytes: 1_000_000,
  maxAnswerBytes: 10_000,
  audience: 'Anonymous',
  keyHeaders: [],
  ...changes,
});

class Pool implements BytePool {
  used = 0;
  readonly limit: number;
  constructor(limit = 10_000_000) {
    this.limit = limit;
  }
  take(bytes: number): boolean {
    if (this.used + bytes > this.limit) return false;
    this.used += bytes;
    return true;
  }
  give(bytes: number): void {
    this.used -= bytes;
  }
}

const answer = (text: string, bornMs = 0) => ({ fields: '', body: Buffer.from(text), bornMs });
const bodyOf = (store: LastGood, target: string, fields = '', nowMs = 0): string | undefined =>
  store.find(target, fields, nowMs)?.body.toString();

describe('LastGood', () => {
  it('gives the newest answer to the same target', () => {
    const store = new LastGood(plan(), new Pool());
    store.keep('/a', '', [], answer('1'));
    store.keep('/a', '', [], answer('2'));
    store.keep('/b', '', [], answer('3'));
    expect([bodyOf(store, '/a'), bodyOf(store, '/b'), bodyOf(store, '/a?x')]).toEqual(['2', '3', undefined]);
    expect(store.answers).toBe(2);
  });

  it('gives an answer to those only who would have got it', () => {
    const store = new LastGood(plan(), new Pool());
    const [german, english] = ['\r\nAccept-Language: de', '\r\nAccept-Language: en'];
    store.keep('/a', german, ['accept-language'], answer('Hallo'));
    store.keep('/a', english, ['accept-language'], answer('Hello'));
    expect([german, english, '', '\r\nAccept-Language:'].map((fields) => bodyOf(store, '/a', fields))).toEqual([
      'Hallo',
      'Hello',
      undefined,
      undefined,
    ]);
  });

  it('follows a Vary that changes: the newest answer that selects counts', () => {
    const store = new LastGood(plan(), new Pool());
    store.keep('/a', '\r\nX: 1', ['x'], answer('for 1'));
    store.keep('/a', '\r\nX: 2', ['x'], answer('for 2'));
    store.keep('/a', '\r\nX: 2', [], answer('for all'));
    expect(bodyOf(store, '/a', '\r\nX: 2')).toBe('for all');
    expect(bodyOf(store, '/a', '\r\nX: 1')).toBe('for all');
    store.keep('/a', '\r\nX: 1', ['x'], answer('for 1 again'));
    expect(bodyOf(store, '/a', '\r\nX: 1')).toBe('for 1 again');
  });

  it('forgets by age, and counts the age that an answer came with', () => {
    const store = new LastGood(plan({ maxAgeMs: 1000 }), new Pool());
    store.keep('/a', '', [], answer('a', 0));
    store.keep('/old', '', [], answer('b', -600));
    expect([bodyOf(store, '/a', '', 1000), bodyOf(store, '/old', '', 400)]).toEqual(['a', 'b']);
    expect(bodyOf(store, '/old', '', 401)).toBeUndefined();
    store.sweep(1001);
    expect([store.answers, store.bytes]).toEqual([0, 0]);
  });

  it('an answer that is too large changes nothing', () => {
    const store = new LastGood(plan({ maxAnswerBytes: 4, maxBytes: 600 }), new Pool());
    expect(store.keep('/a', '', [], answer('good'))).toBe(true);
    expect(store.keep('/a', '', [], answer('large'))).toBe(false);
    expect(store.keep('/a', '\r\nX: 1', ['x'], { ...answer('b'), fields: 'f'.repeat(600) })).toBe(false);
    expect(store.keep(`/${'k'.repeat(9000)}`, '', [], answer('c'))).toBe(false);
    expect(bodyOf(store, '/a')).toBe('good');
  });

  it('takes what fits exactly, and nothing more', () => {
    const cost = ANSWER_OVERHEAD_BYTES + '/a'.length + 'text'.length;
    const store = new LastGood(plan({ maxBytes: 2 * cost }), new Pool());
    expect(store.keep('/a', '', [], answer('x'.repeat(cost + '/a'.length + 2)))).toBe(true);
    expect(store.keep('/a', '', [], answer('x'.repeat(cost + '/a'.length + 3)))).toBe(false);
    expect(store.bytes).toBe(2 * cost);
    store.keep('/a', '', [], answer('text'));
    store.keep('/b', '', [], answer('text'));
    expect(store.answers).toBe(2);
    store.update(plan({ maxBytes: 2 * cost }));
    expect(store.answers).toBe(2);
    store.update(plan({ maxBytes: 2 * cost - 1 }));
    expect([bodyOf(store, '/a'), bodyOf(store, '/b')]).toEqual([undefined, 'text']);
  });

  it('bounds what an answer is found by: target and selecting fields together', () => {
    const store = new LastGood(plan(), new Pool());
    const field = (length: number) => `\r\nX: ${'x'.repeat(length)}`;
    const target = `/${'k'.repeat(8_000)}`;
    expect(store.keep(target, field(191), ['x', 'y'], answer('a'))).toBe(true);
    expect(store.keep(target, field(192), ['x', 'y'], answer('b'))).toBe(false);
    expect(store.keep(target, field(192), [], answer('c'))).toBe(true);
  });

  it('gives what came without a field to those who come without it', () => {
    const store = new LastGood(plan(), new Pool());
    expect(store.keep('/a', '\r\nY: 1', ['x'], answer('without'))).toBe(true);
    expect(['', '\r\nX:', '\r\nX: 1'].map((fields) => bodyOf(store, '/a', fields))).toEqual([
      'without',
      undefined,
      undefined,
    ]);
    store.keep('/a', '\r\nX:', ['x'], answer('empty'));
    expect([bodyOf(store, '/a', ''), bodyOf(store, '/a', '\r\nX:')]).toEqual(['without', 'empty']);
  });

  it('keeps bytes as they are that are no ASCII', () => {
    const store = new LastGood(plan(), new Pool());
    const request = '\r\nX: \xfc';
    store.keep('/caf\xe9', request, ['x'], { fields: '\r\nETag: "\xe4"', body: Buffer.from('a'), bornMs: 0 });
    expect(store.find('/caf\xe9', request, 0)?.fields).toBe('\r\nETag: "\xe4"');
  });

  it('sweeps out what is too old and nothing else, whatever was used last', () => {
    const store = new LastGood(plan({ maxAgeMs: 1_000 }), new Pool());
    store.keep('/new', '', [], answer('new', 1));
    store.keep('/old', '', [], answer('old', 0));
    store.keep('/newer', '', [], answer('newer', 2));
    store.sweep(1_000);
    expect(store.answers).toBe(3);
    store.sweep(1_001);
    expect(['/new', '/old', '/newer'].map((target) => bodyOf(store, target))).toEqual(['new', undefined, 'newer']);
  });

  it('keeps nothing once it is closed', () => {
    const pool = new Pool();
    const store = new LastGood(plan(), pool);
    store.keep('/a', '', [], answer('a'));
    store.close();
    expect(store.keep('/a', '', [], answer('a'))).toBe(false);
    expect([store.answers, pool.used]).toEqual([0, 0]);
  });

  it('bounds the answers to one target', () => {
    const store = new LastGood(plan(), new Pool());
    for (let value = 0; value <= MAX_VARIANTS; value += 1)
      store.keep('/a', `\r\nX: ${value}`, ['x'], answer(`${value}`));
    expect(store.answers).toBe(MAX_VARIANTS);
    expect([bodyOf(store, '/a', '\r\nX: 0'), bodyOf(store, '/a', '\r\nX: 1')]).toEqual([undefined, '1']);
  });

  it('throws nothing away for an answer that the pool cannot hold even so', () => {
    const pool = new Pool(ANSWER_OVERHEAD_BYTES * 3);
    pool.take(ANSWER_OVERHEAD_BYTES);
    const store = new LastGood(plan(), pool);
    store.keep('/a', '', [], answer('a'));
    expect(store.keep('/b', '', [], answer('b'.repeat(ANSWER_OVERHEAD_BYTES * 2)))).toBe(false);
    expect(bodyOf(store, '/a')).toBe('a');
    expect(store.keep('/c', '', [], answer('c'))).toBe(true);
    expect([bodyOf(store, '/a'), bodyOf(store, '/c')]).toEqual([undefined, 'c']);
    store.clear();
    expect(pool.used).toBe(ANSWER_OVERHEAD_BYTES);
  });

  it('keeps its answers over a plan, but not over other rules of whose they are', () => {
    const store = new LastGood(plan(), new Pool());
    store.keep('/a', '', [], answer('a'));
    store.update(plan({ maxAgeMs: 30_000 }));
    expect(bodyOf(store, '/a')).toBe('a');
    store.update(plan({ audience: 'Everyone' }));
    expect(bodyOf(store, '/a')).toBeUndefined();
    store.keep('/a', '', [], answer('a'));
    store.update(plan({ audience: 'Everyone', keyHeaders: ['x-user'] }));
    expect([store.answers, store.bytes]).toEqual([0, 0]);
  });
});

describe('Recording', () => {
  const record = (store: LastGood, pool: BytePool, fields = '\r\nAge: 5\r\nVary: X\r\nETag: "e"') =>
    new Recording(store, pool, '/a', '\r\nX: 1', fields, 10_000);

  it('becomes an answer when it is whole', () => {
    const pool = new Pool();
    const store = new LastGood(plan(), pool);
    const recording = record(store, pool);
    const read = Buffer.from('xxhalloyy');
    expect(recording.add(read, 2, 5) && recording.add(read, 5, 7)).toBe(true);
    read.fill('z');
    expect(store.answers).toBe(0);
    recording.commit();
    expect(store.find('/a', '\r\nX: 1', 10_000)).toMatchObject({ fields: '\r\nVary: X\r\nETag: "e"', bornMs: 5000 });
    expect(bodyOf(store, '/a', '\r\nX: 1', 10_000)).toBe('hallo');
    expect(bodyOf(store, '/a', '\r\nX: 2', 10_000)).toBeUndefined();
    expect(pool.used).toBe(store.bytes);
  });

  it('leaves nothing behind when it is given up, or too large', () => {
    const pool = new Pool(4000);
    const store = new LastGood(plan({ maxAnswerBytes: 3000 }), pool);
    const read = Buffer.alloc(3001);
    const abandoned = record(store, pool);
    abandoned.add(read, 0, 100);
    expect(pool.used).toBe(100);
    abandoned.discard();
    abandoned.discard();
    expect(record(store, pool).add(read, 0, 3001)).toBe(false);
    const [first, second] = [record(store, pool), record(store, pool)];
    expect([first.add(read, 0, 2500), second.add(read, 0, 2500)]).toEqual([true, false]);
    first.discard();
    expect([store.answers, pool.used]).toEqual([0, 0]);
  });

  it('takes as much as an answer may have, and gives it all back with the first byte more', () => {
    const pool = new Pool();
    const store = new LastGood(plan({ maxAnswerBytes: 3000 }), pool);
    const read = Buffer.alloc(3001);
    const [whole, long] = [record(store, pool), record(store, pool)];
    expect([whole.add(read, 0, 2999), whole.add(read, 2999, 3000)]).toEqual([true, true]);
    whole.commit();
    expect(pool.used).toBe(store.bytes);
    expect([long.add(read, 0, 3000), long.add(read, 3000, 3001)]).toEqual([true, false]);
    expect([store.answers, pool.used]).toEqual([1, store.bytes]);
  });

  it('holds no more memory than it counts, into however many pieces its answer is cut', () => {
    const pool = new Pool();
    const pieces = 300_000;
    const store = new LastGood(plan({ maxAnswerBytes: pieces }), pool);
    const recording = record(store, pool);
    const read = Buffer.from('a');
    const before = process.memoryUsage();
    for (let piece = 0; piece < pieces; piece += 1) recording.add(read, 0, 1);
    const after = process.memoryUsage();
    expect(pool.used).toBe(pieces);
    // An object for each piece would be a hundred bytes for one.
    expect(after.heapUsed + after.external - before.heapUsed - before.external).toBeLessThan(20 * pieces);
    recording.commit();
    expect(bodyOf(store, '/a', '\r\nX: 1', 10_000)).toBe('a'.repeat(pieces));
    expect(pool.used).toBe(store.bytes);
  });
});

interface ModelAnswer {
  target: string;
  names: string[];
  x: string;
  y: string;
  text: string;
  bornMs: number;
  cost: number;
}

/** The model is one array, the least used first. */
class Model {
  answers: ModelAnswer[] = [];
  spec = plan({ maxBytes: 4000, maxAgeMs: 500 });

  matches(kept: ModelAnswer, target: string, x: string, y: string): boolean {
    if (kept.target !== target) return false;
    return (!kept.names.includes('x') || kept.x === x) && (!kept.names.includes('y') || kept.y === y);
  }

  get bytes(): number {
    return this.answers.reduce((sum, { cost }) => sum + cost, 0);
  }
}

const KEYS = ['/a', '/b', '/c'];
const NAMES = [[], ['x'], ['y'], ['x', 'y']];
const step = fc.record({
  kind: fc.constantFrom('keep', 'keep', 'keep', 'find', 'find', 'pass', 'sweep', 'update'),
  key: fc.nat(2),
  names: fc.nat(3),
  x: fc.constantFrom('', '1', '2'),
  y: fc.constantFrom('', '1'),
  number: fc.nat(900),
});

it('does as its model does', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: 'max' }), (steps) => {
      const model = new Model();
      const pool = new Pool();
      const store = new LastGood(model.spec, pool);
      let nowMs = 0;
      let made = 0;
      for (const { kind, key, names: namesIndex, x, y, number } of steps) {
        const target = KEYS[key] ?? '';
        const names = NAMES[namesIndex] ?? [];
        const fields = `\r\nX: ${x}\r\nY: ${y}`;
        if (kind === 'pass') nowMs += number / 3;
        if (kind === 'sweep') {
          store.sweep(nowMs);
          model.answers = model.answers.filter(({ bornMs }) => nowMs - bornMs <= model.spec.maxAgeMs);
        }
        if (kind === 'update') {
          model.spec = plan({ maxBytes: 1000 + number * 4, maxAgeMs: 200 + number });
          store.update(model.spec);
          while (model.bytes > model.spec.maxBytes) model.answers.shift();
        }
        if (kind === 'find') {
          // The newest counts: `text` grows with every answer.
          const found = model.answers
            .filter((kept) => model.matches(kept, target, x, y))
            .sort((a, b) => Number(b.text) - Number(a.text))[0];
          const young = found && nowMs - found.bornMs <= model.spec.maxAgeMs;
          expect(bodyOf(store, target, fields, nowMs)?.trim()).toBe(young ? found.text : undefined);
          if (found) model.answers.splice(model.answers.indexOf(found), 1);
          if (found && young) model.answers.push(found);
        }
        if (kind === 'keep') {
          made += 1;
          const text = String(made);
          const body = text.padEnd(number);
          const key = target.length + (names.includes('x') ? x.length : 0) + (names.includes('y') ? y.length : 0);
          const cost = ANSWER_OVERHEAD_BYTES + key + body.length;
          const fits = cost <= model.spec.maxBytes;
          expect(store.keep(target, fields, names, { fields: '', body: Buffer.from(body), bornMs: nowMs })).toBe(fits);
          if (fits) {
            model.answers = model.answers.filter((kept) => !model.matches(kept, target, x, y));
            while (model.bytes + cost > model.spec.maxBytes) model.answers.shift();
            model.answers.push({ target, names, x, y, text, bornMs: nowMs, cost });
          }
        }
        expect([store.answers, store.bytes, pool.used]).toEqual([model.answers.length, model.bytes, model.bytes]);
        expect(store.targets).toBe(new Set(model.answers.map(({ target }) => target)).size);
      }
      store.clear();
      expect([store.answers, store.bytes, pool.used]).toEqual([0, 0, 0]);
    }),
    { numRuns: 500 },
  );
});
