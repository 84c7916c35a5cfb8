// The objects in crds/testdata, for the test of our own parser and the one of the API server: both must say the same of each.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CrdCase {
  /** File name without its ending. */
  name: string;
  /** As YAML. */
  text: string;
}

/** `path` and `message` stand in comments at the head of the file: the field that is wrong, and a fragment of what is said about it. */
export interface InvalidCrdCase extends CrdCase {
  path: string;
  message: string;
}

const folder = join(import.meta.dirname, '../../crds/testdata');

export function validCrdCases(): CrdCase[] {
  return read('valid');
}

/** Throws where a file does not say what must be said about it. */
export function invalidCrdCases(): InvalidCrdCase[] {
  return read('invalid').map((it) => {
    const path = /^# path: (.+)$/m.exec(it.text)?.[1];
    const message = /^# message: (.+)$/m.exec(it.text)?.[1];
    if (path === undefined || message === undefined) throw new Error(`${it.name} needs "# path:" and "# message:"`);
    return { ...it, path, message };
  });
}

function read(kind: string): CrdCase[] {
  const files = readdirSync(join(folder, kind)).sort();
  return files.map((file) => ({
    name: file.replace(/\.yaml$/, ''),
    text: readFileSync(join(folder, kind, file), 'utf8'),
  }));
}
