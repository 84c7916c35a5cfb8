import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SIDECAR_NODE_FLAGS } from './node-flags.ts';

test('the image starts the sidecar with the same flags', () => {
  const dockerfile = readFileSync(join(import.meta.dirname, '../Dockerfile.sidecar'), 'utf8');
  expect(dockerfile).toContain(`exec node ${SIDECAR_NODE_FLAGS.join(' ')} /opt/breakwater/main.js`);
});
