import { describe, expect, it } from 'vitest';
import type { Logger } from '../../../runtime/log.ts';
import { createSidecarMetrics } from '../../metrics/sidecar-metrics.ts';
import { judgeUndeclared, UndeclaredLog } from './undeclared.ts';

describe('judgeUndeclared', () => {
  const facts = { wanted: 'Deny', port: 80, disabled: false, podsUnknown: false } as const;
  it.each([
    ['Deny', {}, 'denied'],
    ['Warn', { wanted: 'Warn' }, 'warned'],
    ['Allow', { wanted: 'Allow' }, 'allowed'],
    ['DNS, without which nothing is called', { port: 53 }, 'allowed'],
    ['the kill switch', { disabled: true }, 'allowed'],
    ['pods of which nothing is known', { podsUnknown: true }, 'allowed'],
  ] as const)('%s', (_name, changes, action) => {
    expect(judgeUndeclared({ ...facts, ...changes })).toBe(action);
  });
});

describe('UndeclaredLog', () => {
  it('writes a bounded number of lines a minute, and of destinations for ever', () => {
    let lines = 0;
    const log = new UndeclaredLog({ warn: () => lines++ } as unknown as Logger, createSidecarMetrics());
    for (let i = 0; i < 500; i++) log.note('warned', `10.0.0.${i}:80`, 1_000);
    expect(lines).toBe(20);
    for (let minute = 1; minute < 200; minute++) {
      for (let i = 0; i < 5_000; i++) log.note('warned', `10.0.0.${i}:80`, minute * 60_000 + 1_000);
    }
    expect(lines).toBe(1_001);
  });

  it('writes nothing of what is allowed', () => {
    let lines = 0;
    const log = new UndeclaredLog({ warn: () => lines++ } as unknown as Logger, createSidecarMetrics());
    log.note('allowed', '10.0.0.1:80', 0);
    expect(lines).toBe(0);
  });
});
