import { expect, test } from 'vitest';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { Outage } from './outage.ts';
import { recordingLogger } from './recording-logger.ts';

function setUp() {
  const clock = new ManualClock();
  const lines: string[] = [];
  const texts = { failed: 'failed', lasts: 'lasts', over: 'over' };
  const outage = new Outage({ clock, log: recordingLogger(lines), level: 'warn', fields: {}, ...texts });
  return { clock, lines, outage };
}

test('each kind is told once, a reminder every ten minutes, and the end', async () => {
  const { clock, lines, outage } = setUp();
  for (let second = 0; second < 1_300; second += 10) {
    outage.failed(second % 20 === 0 ? 'a' : 'b', {});
    await clock.advance(10_000);
  }
  expect(lines).toEqual(['warn failed', 'warn failed', 'warn lasts', 'warn lasts']);
  outage.over();
  outage.over();
  expect(lines.slice(4)).toEqual(['info over']);
  outage.failed('a', {});
  expect(lines.slice(5)).toEqual(['warn failed']);
});

test('kinds without end are told up to sixteen', () => {
  const { lines, outage } = setUp();
  for (let number = 0; number < 1_000; number += 1) outage.failed(`kind ${number}`, {});
  expect(lines).toHaveLength(16);
  expect(outage.isOn).toBe(true);
});
