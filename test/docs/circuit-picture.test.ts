import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { expectGolden } from '../harness/golden.ts';
import { circuitPicture } from './circuit-picture.ts';

it('docs/pictures/circuit-over-time.svg shows what a circuit does', () => {
  const picture = circuitPicture();
  expectGolden(fileURLToPath(new URL('../../docs/pictures/circuit-over-time.svg', import.meta.url)), picture);
  // What the text beside it says.
  for (const words of [
    '>20 s<',
    'open, 40 s<',
    'open, 80 s<',
    'a probe gets no answer',
    'two probes succeed',
    '>reset<',
    'force: Open',
  ])
    expect(picture).toContain(words);
});
