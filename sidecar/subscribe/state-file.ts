// One file that survives a restart: written whole or not at all, and read back only if it is whole.
//
// First line: a small JSON header with the length and SHA-256 of the rest. A reader that finds anything else ignores the file: a damaged
// state is no state. Writes go to a second file that is flushed and renamed, so that a crash at any moment leaves the old content or the new.
import { createHash } from 'node:crypto';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import * as z from 'zod';

const FORMAT = 1;
const MAX_HEADER_BYTES = 512;

const header = z.object({
  format: z.literal(FORMAT),
  savedAtUnixMs: z.number().int().min(0),
  bytes: z.number().int().min(0),
  sha256: z.string().length(64),
});

export interface StoredText {
  text: string;
  savedAtUnixMs: number;
}

/** Replaces the file; throws what the file system throws, and then the old content is still there. */
export async function writeStateFile(path: string, stored: StoredText, maxBytes: number): Promise<void> {
  const body = Buffer.from(stored.text, 'utf8');
  if (body.length > maxBytes)
    throw new Error(`${path}: ${body.length} bytes are more than the ${maxBytes} that are kept`);
  const head = { format: FORMAT, savedAtUnixMs: stored.savedAtUnixMs, bytes: body.length, sha256: digest(body) };
  const temporary = `${path}.new`;
  try {
    const file = await open(temporary, 'w', 0o600);
    try {
      await file.writeFile(Buffer.concat([Buffer.from(`${JSON.stringify(head)}\n`), body]));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    // A full disk must not stay full of a file that nobody will read.
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
}

/** What the file holds; null where there is none. Throws with a reason where it is damaged, cut, too large or unreadable. */
export async function readStateFile(path: string, maxBytes: number): Promise<StoredText | null> {
  let bytes: Buffer;
  try {
    const { size } = await stat(path);
    if (size > maxBytes + MAX_HEADER_BYTES) throw new Error(`it has ${size} bytes, more than can have been written`);
    bytes = await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  const end = bytes.subarray(0, MAX_HEADER_BYTES).indexOf('\n');
  if (end < 0) throw new Error('it has no header');
  const head = header.safeParse(parseJson(bytes.toString('utf8', 0, end)));
  if (!head.success) throw new Error('its header is damaged or of another format');
  const body = bytes.subarray(end + 1);
  if (body.length !== head.data.bytes)
    throw new Error(`it was cut: ${body.length} of ${head.data.bytes} bytes are there`);
  if (digest(body) !== head.data.sha256) throw new Error('its checksum does not fit its content');
  return { text: body.toString('utf8'), savedAtUnixMs: head.data.savedAtUnixMs };
}

function digest(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
