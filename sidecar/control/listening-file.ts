// Where the sidecar listened before a restart, in capture `explicit`: the application read those addresses once, when it started, and calls
// them as long as it lives. Left in the state directory; a file that cannot be read or written costs new addresses and nothing else.
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';

const FILE = 'listening.json';

const port = z.number().int().min(1).max(65_535);
const listening = z.object({
  admin: port,
  /** By name of the dependency. */
  dependencies: z.record(z.string(), port),
});
export type Listening = z.infer<typeof listening>;

/** Null where nothing was left that can be read. */
export async function readListening(stateDirectory: string | null): Promise<Listening | null> {
  if (stateDirectory === null) return null;
  const text = await readFile(join(stateDirectory, FILE), 'utf8').catch(() => '');
  try {
    return listening.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Throws what the file system throws. */
export async function writeListening(stateDirectory: string, ports: Listening): Promise<void> {
  await mkdir(stateDirectory, { recursive: true });
  const path = join(stateDirectory, FILE);
  await writeFile(`${path}.new`, JSON.stringify(ports), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

/** "http://127.0.0.1:80" and {"payments": "127.0.0.1:81"} as ports. */
export function portsOf(message: { admin: string; dependencies: Record<string, string> }): Listening {
  const portOf = (address: string) => Number(address.slice(address.lastIndexOf(':') + 1));
  return {
    admin: portOf(message.admin),
    dependencies: Object.fromEntries(
      Object.entries(message.dependencies).map(([name, address]) => [name, portOf(address)]),
    ),
  };
}
