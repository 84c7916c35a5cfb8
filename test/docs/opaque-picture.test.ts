import { fileURLToPath } from 'node:url';
import { it } from 'vitest';
import { expectGolden } from '../harness/golden.ts';
import { opaquePicture } from './opaque-picture.ts';

it('docs/pictures/opaque.svg shows what the state machines do', () => {
  expectGolden(fileURLToPath(new URL('../../docs/pictures/opaque.svg', import.meta.url)), opaquePicture());
});
