import { expect, it } from 'vitest';
import { examineBadLine, versionInHead } from './bad-line.ts';

const KINDS = ['plan', 'heartbeat'];

it.each([
  ['{"kind":"surprise","version":"v1"}', { unknownKind: true, isJson: true, version: 'v1' }],
  ['{"kind":"plan","version":"v2","plan":{}}', { unknownKind: false, isJson: true, version: 'v2' }],
  ['{"kind":"plan","version":"v3","plan":{"formatVer', { unknownKind: false, isJson: false, version: 'v3' }],
  ['{"kind":"plan","version":7}', { unknownKind: false, isJson: true, version: 'unknown' }],
  ['\u0000\u0001garbage', { unknownKind: false, isJson: false, version: 'unknown' }],
  ['null', { unknownKind: false, isJson: true, version: 'unknown' }],
  ['[]', { unknownKind: false, isJson: true, version: 'unknown' }],
])('%s', (line, expected) => {
  expect(examineBadLine(line, KINDS)).toEqual(expected);
});

it('never names a version longer than a report may carry', () => {
  expect(examineBadLine(JSON.stringify({ kind: 'plan', version: 'x'.repeat(500) }), KINDS).version).toHaveLength(128);
  expect(versionInHead(`{"version":"${'x'.repeat(500)}"`)).toBe('unknown');
});
