// The differential garden with every server that it has: the corpus, and then mutations of it.
import { describe, expect, it } from 'vitest';
import { isMissing } from '../parts.ts';
import { MESSAGES } from './messages.ts';
import { SERVERS } from './servers.ts';
import { sow } from './sow.ts';

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
  }
});
