// The files that a command is given, as text: files, folders with all manifests below them, and "-" for standard input.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { UsageError } from '../usage-error.ts';

export interface SourceText {
  /** As the user may find it again: the path as given, or below the folder as given. */
  file: string;
  text: string;
}

export const STANDARD_INPUT = '<stdin>';
const MANIFEST_NAME = /\.(ya?ml|json)$/i;
const MAX_FILE_BYTES = 16 * 1024 * 1024;
const MAX_FILES = 10_000;

/** Each file once, in the order given, those of a folder sorted. Throws UsageError for what cannot be read. */
export async function readSources(paths: readonly string[], stdin: NodeJS.ReadableStream): Promise<SourceText[]> {
  const files = new Set<string>();
  for (const path of paths) for (const file of await filesOf(path)) files.add(file);
  if (files.size > MAX_FILES)
    throw new UsageError(`these are ${files.size} files; give at most ${MAX_FILES} at a time`);
  const sources: SourceText[] = [];
  for (const file of files) {
    const bytes = file === '-' ? await readStandardInput(stdin) : await read(file);
    sources.push({ file: file === '-' ? STANDARD_INPUT : file, text: decode(bytes, file) });
  }
  return sources;
}

/** Paths of the manifests in a folder and below it, sorted; hidden files and folders left out. Throws UsageError. */
export async function manifestsBelow(folder: string): Promise<string[]> {
  const entries = await attempt(folder, () => readdir(folder, { recursive: true, withFileTypes: true }));
  const prefix = folder.replace(/\/+$/, '');
  const names = entries
    .filter((entry) => !entry.isDirectory() && MANIFEST_NAME.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => {
      const below = path.slice(join(prefix).length);
      return !below.split('/').some((part) => part.startsWith('.') && part !== '.');
    })
    .sort();
  if (names.length === 0) {
    throw new UsageError(`${folder} has no manifest: put Kubernetes objects there as *.yaml, *.yml or *.json`);
  }
  return names;
}

async function filesOf(path: string): Promise<string[]> {
  if (path === '-') return ['-'];
  const found = await attempt(path, () => stat(path));
  return found.isDirectory() ? manifestsBelow(path) : [path];
}

async function read(file: string): Promise<Buffer> {
  return attempt(file, async () => {
    const { size } = await stat(file);
    if (size > MAX_FILE_BYTES) throw new UsageError(`${file} is larger than ${MAX_FILE_BYTES} bytes; split it`);
    return readFile(file);
  });
}

async function readStandardInput(stdin: NodeJS.ReadableStream): Promise<Buffer> {
  if ('isTTY' in stdin && stdin.isTTY === true) {
    throw new UsageError(
      '"-" reads manifests from standard input, and that is this terminal: pipe them in, or name files',
    );
  }
  const bytes = await buffer(stdin);
  if (bytes.length > MAX_FILE_BYTES)
    throw new UsageError(`standard input is larger than ${MAX_FILE_BYTES} bytes; split it`);
  return bytes;
}

function decode(bytes: Buffer, file: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new UsageError(`${file === '-' ? 'standard input' : file} is not UTF-8 text; manifests are`);
  }
}

async function attempt<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') throw new UsageError(`${path} does not exist`);
    if (code === 'EACCES' || code === 'EPERM') throw new UsageError(`${path} may not be read by this user`);
    throw new UsageError(`${path} cannot be read: ${message}`);
  }
}
