import * as fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import * as z from 'zod';
import { boundedList, indexList, parseBoundedJson } from './bounded.ts';
import { decodeEndpointsFrame, decodePlanFrame } from './wire.ts';

/** Any code point, and halves of surrogate pairs: fast-check's own "binary" takes a second and a half to be made. */
const character = fc.integer({ min: 0, max: 0x10_ff_ff }).map((point) => String.fromCodePoint(point));

describe('parseBoundedJson', () => {
  it.each([
    ['nested lists', `${'['.repeat(4_000_000)}${']'.repeat(4_000_000)}`, 'nested more than 64 levels deep'],
    ['lists that never end', '['.repeat(8_000_000), 'nested more than 64 levels deep'],
    ['many small objects', `[${'{},'.repeat(2_700_000)}{}]`, 'more than 500000 objects and lists'],
    ['a string that never ends', `"${'\\"'.repeat(100_000)}`, 'not JSON'],
  ])('makes nothing of %s', (_, text, message) => {
    const parse = vi.spyOn(JSON, 'parse');
    expect(parseBoundedJson(text)).toEqual({ ok: false, message: expect.stringContaining(message) as string });
    // What would fill the memory is not even begun.
    expect(parse).toHaveBeenCalledTimes(message === 'not JSON' ? 1 : 0);
    parse.mockRestore();
  });

  it('does not mind brackets in strings', () => {
    const value = { path: `\\"${'[{'.repeat(100_000)}\\`, next: ['"'] };
    expect(parseBoundedJson(JSON.stringify(value))).toEqual({ ok: true, value });
  });

  it('reads what JSON.parse reads, of any length', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 8 }), (text) => {
        const long = `[${text}${' '.repeat(20_000)}]`;
        expect(parseBoundedJson(long)).toEqual({ ok: true, value: JSON.parse(long) as unknown });
      }),
    );
  });
});

describe('a list', () => {
  it('is looked at up to its first wrong item', () => {
    let looked = 0;
    const item = z.number().refine((value) => {
      looked++;
      return value < 2;
    });
    const result = z.object({ all: boundedList(item, { max: 10 }) }).safeParse({ all: [0, 1, 2, 3, 4] });
    expect(result.error?.issues).toMatchObject([{ path: ['all', 2] }]);
    expect(looked).toBe(3);
  });

  it.each([[[0, -1]], [[0, 1.5]], [['0']], [[null]], [[]], [[1, 1, 1, 1]]])('of indices is not %j', (value) => {
    expect(indexList({ min: 1, max: 3 }).safeParse(value).error?.issues).toHaveLength(1);
  });
});

describe('a frame of eight megabytes', () => {
  const zeros = (count: number) => `[${'0,'.repeat(count - 1)}0]`;
  const sets = Array.from({ length: 400 }, (_, set) => `{"key":"${set}","endpoints":${zeros(10_000)}}`);
  const dependencies = Array.from({ length: 60 }, () => `{"policies":${zeros(65_536)},"combinations":${zeros(4)}}`);

  // Told in full, four million problems would take gigabytes.
  it.each([
    [
      'endpoints that are none',
      () => decodeEndpointsFrame(`{"kind":"snapshot","version":"v","sets":[${sets.join(',')}]}`),
      'sets.0.endpoints.0',
    ],
    [
      'policies that are none',
      () =>
        decodePlanFrame(
          `{"kind":"plan","version":"v","plan":{"formatVersion":1,"namespace":"a","serviceDependencies":[],"dependencies":[${dependencies.join(',')}]}}`,
        ),
      'plan.dependencies.0',
    ],
  ])('of %s is refused at the first', (_, decode, place) => {
    const messages: string[] = [];
    const decoded = decode();
    if (!decoded.ok) messages.push(decoded.message);
    expect(messages).toEqual([expect.stringContaining(`does not fit the schema at ${place}`)]);
    expect(messages[0]?.length).toBeLessThan(300);
  });
});

describe('whatever a line holds, decoding it', () => {
  const frame = fc.record({
    kind: fc.constantFrom('plan', 'unchanged', 'trust', 'heartbeat', 'end', 'snapshot', 'update', '__proto__', 'other'),
    version: fc.oneof(fc.string(), fc.constantFrom(null, 7, 'x'.repeat(1_000))),
    plan: fc.anything(),
    sets: fc.anything(),
    removed: fc.anything(),
    bundle: fc.anything(),
  });
  const line = fc.oneof(
    fc.string({ unit: character }),
    fc.json(),
    frame.map(
      (value) => JSON.stringify(value, (_, one: unknown) => (typeof one === 'bigint' ? String(one) : one)) ?? '',
    ),
  );

  it('gives a frame or a short message, and changes no prototype', () => {
    fc.assert(
      fc.property(line, fc.boolean(), (text, polluted) => {
        const sent = polluted
          ? text.replace('{', '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},')
          : text;
        for (const decoded of [decodePlanFrame(sent), decodeEndpointsFrame(sent)]) {
          if (!decoded.ok) expect(decoded.message.length).toBeLessThan(2_000);
        }
        expect({}).not.toHaveProperty('polluted');
      }),
      { numRuns: 2_000 },
    );
  });

  it('takes the last of two keys, as the version it names', () => {
    expect(decodePlanFrame('{"kind":"unchanged","version":"a","version":"b"}')).toEqual({
      ok: true,
      frame: { kind: 'unchanged', version: 'b' },
    });
  });
});
