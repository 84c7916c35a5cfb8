// The certificates in a folder, for an operator without a cluster. One operator owns the folder; two that start at once still agree,
// because the first document is linked into place and only one link can win.
import { createHash, randomUUID } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CertificateStore, StoredDocument } from './store.ts';

const DOCUMENT_FILE = 'certificates.json';
const BUNDLE_FILE = 'ca.crt';

const codeOf = (error: unknown): unknown => (error instanceof Error ? Reflect.get(error, 'code') : undefined);
const revisionOf = (text: string) => createHash('sha256').update(text).digest('hex');

export function createFolderStore(folder: string): CertificateStore {
  const path = join(folder, DOCUMENT_FILE);

  async function read(): Promise<StoredDocument | undefined> {
    try {
      const text = await readFile(path, 'utf8');
      return { text, revision: revisionOf(text) };
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Writes beside the target, readable by the owner alone, and moves it there whole. */
  async function put(file: string, content: string, place: (from: string, to: string) => Promise<void>): Promise<void> {
    const temporary = join(folder, `.${file}.${randomUUID()}`);
    await writeFile(temporary, content, { mode: 0o600, flag: 'wx' });
    try {
      await place(temporary, join(folder, file));
    } finally {
      await rm(temporary, { force: true });
    }
  }

  return {
    name: `folder ${folder}`,
    read,
    async write(text, bundle, previous): Promise<boolean> {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if (previous) {
        if ((await read())?.revision !== previous.revision) return false;
        await put(DOCUMENT_FILE, text, rename);
      } else {
        try {
          await put(DOCUMENT_FILE, text, link);
        } catch (error) {
          if (codeOf(error) === 'EEXIST') return false;
          throw error;
        }
      }
      await put(BUNDLE_FILE, bundle, rename);
      return true;
    },
  };
}
