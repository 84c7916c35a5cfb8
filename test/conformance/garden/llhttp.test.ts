// llhttp as an oracle, over the corpus of the garden and mutations of it: whatever the codec accepts, llhttp accepts in its strict mode with the
// same boundaries. A failure prints the message, made short, and the seed: `SEED=7 RUNS=100000 npm test -- llhttp` looks further.
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import { acceptedRequests, disagreement } from '../../../sidecar/http1/testing/llhttp.ts';
import { MESSAGES } from './messages.ts';
import { minimised, mutated } from './mutate.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? 20_000);
const corpus = MESSAGES.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 4_000);
const GOOD = 'GET /behind HTTP/1.1\r\nHost: garden.test\r\n\r\n';

describe('what the codec accepts', () => {
  it('is what llhttp accepts, of every message of the corpus', () => {
    for (const bytes of corpus) {
      expect(disagreement(bytes), JSON.stringify(bytes)).toBeNull();
      expect(disagreement(bytes + GOOD), JSON.stringify(bytes + GOOD)).toBeNull();
    }
  });

  it(`is what llhttp accepts, of ${RUNS} mutations`, () => {
    const random = seededRandom(SEED);
    let accepted = 0;
    for (let run = 0; run < RUNS; run++) {
      const text = mutated(corpus, random) + GOOD;
      accepted += acceptedRequests(text).length;
      if (disagreement(text) === null) continue;
      const shortest = minimised(text, (shorter) => disagreement(shorter) !== null);
      expect.fail(`SEED=${SEED}, run ${run}: ${JSON.stringify(shortest)}: ${disagreement(shortest)}`);
    }
    expect(accepted).toBeGreaterThan(RUNS / 10);
  }, 600_000);
});

describe('a message that fails', () => {
  it('is made as short as it can be', () => {
    expect(minimised('aaaaXbbbbbYcc', (text) => text.includes('X') && text.includes('Y'))).toBe('XY');
  });
});
