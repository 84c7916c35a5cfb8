import { expect, test } from 'vitest';
import type { Logger } from '../../runtime/log.ts';
import type { OwnObject } from '../watch/world-source.ts';
import { StatusLog } from './log.ts';

function setUp() {
  const lines: string[] = [];
  const write = (level: string) => (fields: { object?: string; summary?: string }) => {
    lines.push(`${level} ${fields.object} ${fields.summary}`);
  };
  const statuses = new StatusLog({ info: write('info'), warn: write('warn') } as unknown as Logger);
  return { lines, statuses };
}

const KEY = 'ServiceDependency/shop/checkout';
const object = { kind: 'ServiceDependency', namespace: 'shop', name: 'checkout' } as OwnObject;

test('a status is told when it changes, loudly where a condition is False, and kept', async () => {
  const { lines, statuses } = setUp();
  const good = { summary: 'fine', conditions: [{ type: 'Ready', status: 'True' }] };
  const bad = { summary: 'lost', conditions: [{ type: 'Ready', status: 'False' }] };
  expect(await statuses.write(object, good)).toBe('Written');
  expect(await statuses.write(object, { ...good })).toBe('Unchanged');
  expect(await statuses.write(object, bad)).toBe('Written');
  expect(statuses.get(KEY)).toEqual(bad);
  expect(lines).toEqual([`info ${KEY} fine`, `warn ${KEY} lost`]);
  statuses.forget(KEY);
  expect(statuses.get(KEY)).toBeUndefined();
});

test('what a condition notes although it is True is told as well', async () => {
  const told: unknown[] = [];
  const log = { info: (fields: object) => told.push(fields) } as unknown as Logger;
  const conditions = [
    { type: 'Accepted', status: 'True', message: 'valid and in effect; note: spec.retries: retries has no effect' },
    { type: 'Ready', status: 'True', message: 'accepted, resolved and programmed' },
  ];
  await new StatusLog(log).write(object, { summary: '1/1 targets', conditions });
  expect(told).toEqual([{ object: KEY, summary: '1/1 targets', notes: ['spec.retries: retries has no effect'] }]);
});
