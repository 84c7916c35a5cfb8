import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { expectGolden } from '../harness/golden.ts';
import { healthCheckPicture } from './health-check-picture.ts';

it('docs/pictures/health-check.svg shows what health checks do', () => {
  const picture = healthCheckPicture();
  expectGolden(fileURLToPath(new URL('../../docs/pictures/health-check.svg', import.meta.url)), picture);
  // One endpoint is unhealthy once; the other was broken for less than three checks.
  expect(picture.match(/unhealthy, \d/g)).toHaveLength(1);
});
