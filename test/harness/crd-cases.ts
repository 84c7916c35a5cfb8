// The objects in crds/testdata, for the test of our own parser and the one of the API server: both must say the same of each.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface CrdCase {
  /** File name without its ending. */
  name: string;
  /** As YAML. */
  text: string;
}

/** `path` and `message` stand in comments at the head of the file: the field that is wrong, and what the API server says about it. */
export interface InvalidCrdCase extends CrdCase {
  path: string;
  message: string;
}

/** Between several sentences about one field. */
export const SEPARATOR = ' · ';

const folder = join(import.meta.dirname, '../../crds/testdata');

/**
 * How far our own sentence is that of the API server, which may have the value or the path before it, and none of the fixes that we add
 * behind it; empty where it is another one. Of types each has its own names.
 */
export function sharedSentence(ofServer: string, ours: string): string {
  const plain = (text: string) => text.replace(/(must be of type) [^;]*/, '$1');
  const sentences = ofServer.split(SEPARATOR).map(plain);
  const parts = ours.split('; ');
  const beginnings = parts.map((_, index) => parts.slice(0, parts.length - index).join('; '));
  return beginnings.find((it) => it.length > 10 && sentences.some((one) => one.endsWith(plain(it)))) ?? '';
}

export function validCrdCases(): CrdCase[] {
  return read('valid');
}

/** Throws where a file does not say what must be said about it. */
export function invalidCrdCases(): InvalidCrdCase[] {
  return read('invalid').map((it) => {
    const path = /^# path: (.+)$/m.exec(it.text)?.[1];
    const message = /^# message: ?(.*)$/m.exec(it.text)?.[1];
    if (path === undefined || message === undefined) throw new Error(`${it.name} needs "# path:" and "# message:"`);
    return { ...it, path, message };
  });
}

/** Writes down what the API server says now. */
export function rewriteMessage({ name, text }: CrdCase, message: string): void {
  writeFileSync(
    join(folder, 'invalid', `${name}.yaml`),
    text.replace(/^# message:.*$/m, () => `# message: ${message}`),
  );
}

function read(kind: string): CrdCase[] {
  const files = readdirSync(join(folder, kind)).sort();
  return files.map((file) => ({
    name: file.replace(/\.yaml$/, ''),
    text: readFileSync(join(folder, kind, file), 'utf8'),
  }));
}
