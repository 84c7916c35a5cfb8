// The differential garden with every server that it has: the corpus, and then mutations of it.
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import { isMissing } from '../parts.ts';
import { MESSAGES } from './messages.ts';
import { mutated } from './mutate.ts';
import { SERVERS } from './servers.ts';
import { sow } from './sow.ts';

/** `SEED=7 MUTATIONS=100000 npm run test:conformance -- garden` looks further. */
const SEED = Number(process.env['SEED'] ?? 1);
const MUTATIONS = Number(process.env['MUTATIONS'] ?? 500);
const corpus = MESSAGES.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 4_000);
const random = seededRandom(SEED);
const mutations = Array.from({ length: MUTATIONS }, (_, nth) => ({
  name: `mutation ${nth} of SEED=${SEED}`,
  bytes: mutated(corpus, random),
}));

describe('hostile messages', () => {
  for (const server of SERVERS) {
    it.skipIf(isMissing(...server.needs))(
      `have for ${server.name} the boundaries that they have for the sidecar`,
      async () => {
        const { findings, forwarded } = await sow([server], MESSAGES);
        expect(findings).toEqual([]);
        expect(forwarded).toBeGreaterThan(100);
      },
      300_000,
    );

    it.skipIf(isMissing(...server.needs))(
      `have for ${server.name} the boundaries that they have for the sidecar, when they are changed a little`,
      async () => {
        const { findings, forwarded } = await sow([server], mutations);
        expect(findings).toEqual([]);
        expect(forwarded).toBeGreaterThan(MUTATIONS / 10);
      },
      3_600_000,
    );
  }
});
