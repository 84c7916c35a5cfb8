import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { OPERATOR_VERSION } from './version.ts';

test('the operator says the version of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  expect(OPERATOR_VERSION).toBe(version);
});
