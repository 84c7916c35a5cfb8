// The differential garden with the servers that nearly every machine has; the others are in garden.conformance.test.ts.
import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../runtime/random.ts';
import { isMissing } from '../parts.ts';
import { MESSAGES } from './messages.ts';
import { mutated } from './mutate.ts';
import { Plot } from './plot.ts';
import { NODE, RUNTIMES } from './servers.ts';
import { sow } from './sow.ts';

describe('hostile messages', () => {
  it('have for each server the boundaries that they have for the sidecar', async () => {
    const servers = RUNTIMES.filter(({ needs }) => !isMissing(...needs));
    const { findings, forwarded } = await sow(servers, MESSAGES);
    expect(findings).toEqual([]);
    // Most are refused; those that are not have been seen.
    expect(forwarded).toBeGreaterThan(100 * servers.length);
  }, 120_000);

  it('have them too when they are changed a little', async () => {
    const random = seededRandom(20);
    const corpus = MESSAGES.map(({ bytes }) => bytes).filter((bytes) => bytes.length < 4_000);
    const messages = Array.from({ length: 150 }, () => ({ name: 'a mutation', bytes: mutated(corpus, random) }));
    const { findings, forwarded } = await sow([NODE], messages);
    expect(findings).toEqual([]);
    expect(forwarded).toBeGreaterThan(10);
  }, 60_000);

  it('are found out where nothing stands before the server', async () => {
    const plot = await Plot.open(NODE, true);
    try {
      const obsolete = 'GET /first HTTP/1.1\nHost: garden.test\n\n';
      expect((await plot.send(obsolete)).violations).not.toEqual([]);
      // Here the accounts agree, and there is nothing to find.
      const good = 'GET /first HTTP/1.1\r\nHost: garden.test\r\nX-Correlation-ID: a\r\nConnection: close\r\n\r\n';
      expect((await plot.send(good)).violations).toEqual([]);
    } finally {
      await plot.close();
    }
  });
});
