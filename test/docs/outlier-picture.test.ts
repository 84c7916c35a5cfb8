import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { expectGolden } from '../harness/golden.ts';
import { outlierPicture } from './outlier-picture.ts';

it('docs/pictures/outlier.svg shows what outlier detection does', () => {
  const picture = outlierPicture();
  expectGolden(fileURLToPath(new URL('../../docs/pictures/outlier.svg', import.meta.url)), picture);
  // What the text beside it says.
  for (const words of ['ejected, 30 s<', 'ejected, 60 s (2.)', 'ejected, 90 s (3.)', 'withheld: two are out'])
    expect(picture).toContain(words);
});
