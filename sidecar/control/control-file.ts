// Where the running sidecar's control server listens, for commands that cannot know it from the environment (a free port was asked for).
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const CONTROL_FILE = 'control-port';

/** Throws what the file system throws. */
export async function writeControlPort(stateDirectory: string, port: number): Promise<void> {
  await mkdir(stateDirectory, { recursive: true });
  await writeFile(join(stateDirectory, CONTROL_FILE), `${port}\n`, { mode: 0o600 });
}

/** Null where no sidecar has left a port. */
export async function readControlPort(stateDirectory: string | null): Promise<number | null> {
  if (stateDirectory === null) return null;
  const text = await readFile(join(stateDirectory, CONTROL_FILE), 'utf8').catch(() => '');
  const port = Number(text.trim());
  return Number.isInteger(port) && port >= 1 && port <= 65_535 ? port : null;
}
