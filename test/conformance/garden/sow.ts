// Sends messages through the sidecar to every server at once, and collects what the accounts differ in.
import type { HostileMessage } from './messages.ts';
import { Plot } from './plot.ts';
import type { ServerKind } from './servers.ts';

/** What another reader would take for the next request of the connection. */
const BEHIND = 'GET /behind HTTP/1.1\r\nHost: garden.test\r\n\r\n';

/** Findings beyond which no more are looked for. */
const ENOUGH = 20;

export interface Harvest {
  /** "SERVER, MESSAGE: what differs; the bytes" */
  findings: string[];
  /** Requests that reached a server, of all of them. */
  forwarded: number;
}

/** Each message alone, and with a request behind it. */
export async function sow(servers: readonly ServerKind[], messages: readonly HostileMessage[]): Promise<Harvest> {
  const harvest: Harvest = { findings: [], forwarded: 0 };
  await Promise.all(
    servers.map(async (kind) => {
      const plot = await Plot.open(kind);
      try {
        for (const { name, bytes } of messages) {
          if (harvest.findings.length > ENOUGH) break;
          for (const sent of [bytes, bytes + BEHIND]) {
            const { violations, forwarded } = await plot.send(sent);
            harvest.forwarded += forwarded;
            for (const violation of violations)
              harvest.findings.push(
                `${kind.name}, ${name}: ${violation}; sent: ${JSON.stringify(sent.slice(0, 2_000))}`,
              );
          }
        }
        harvest.findings.push(...(await plot.final()).map((violation) => `${kind.name}, at the end: ${violation}`));
      } finally {
        await plot.close();
      }
    }),
  );
  return harvest;
}
