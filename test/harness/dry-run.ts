// Many manifests given to kubectl in one call, each of them a file for itself: of a call for each, nine tenths of the processor time were
// kubectl's start. It goes on after a file that is refused, and names the file in every error.
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { UsedControlPlane } from './control-plane.ts';
import { temporaryFolder } from './temporary-folder.ts';

export interface Created {
  /** What the server would have stored. */
  objects: unknown[];
  /** "Error from server (Invalid): …" */
  errors: string[];
}

/**
 * What the server says of each text, in their order; none is stored. Each text has one document: kubectl tells what it created in the order of
 * files, and only where it failed by their names. Rejects where its answers cannot be told apart.
 */
export async function createEach(plane: UsedControlPlane, texts: readonly string[]): Promise<Created[]> {
  let stdout = '';
  const errors = await errorsOfEach(texts, async (folder) => {
    const result = await plane.kubectl(['create', '--dry-run=server', '--output=json', '-f', folder]);
    stdout = result.stdout;
    return result.stderr;
  });
  const objects = stdout.split(/^(?=\{)/m).filter((text) => text !== '');
  const taken = errors.filter((one) => one.length === 0);
  if (taken.length !== objects.length) {
    throw new Error(
      `${objects.length} objects of ${taken.length} files without an error:\n${errors.flat().join('\n')}`,
    );
  }
  return errors.map((one) => ({
    errors: one,
    objects: one.length === 0 ? [JSON.parse(objects.shift() ?? '') as unknown] : [],
  }));
}

/** `kubectl`: to be given the folder with the texts; resolves to what it wrote to standard error. Rejects where an error is of no text. */
export async function errorsOfEach(
  texts: readonly string[],
  kubectl: (folder: string) => Promise<string>,
): Promise<string[][]> {
  const folder = temporaryFolder('dry-run');
  try {
    const files = texts.map((_, index) => join(folder, `${String(index).padStart(5, '0')}.yaml`));
    await Promise.all(files.map((file, index) => writeFile(file, texts[index] ?? '')));
    const errors = new Map(files.map((file) => [file, [] as string[]]));
    // One that comes from a patch shows it, on lines of its own.
    for (const error of (await kubectl(folder)).split(/^(?=Error from server|error: )/m).filter((it) => it !== '')) {
      const file = files.find((name) => error.includes(`"${name}"`));
      if (file === undefined) throw new Error(`kubectl says of no file in particular:\n${error}`);
      errors.get(file)?.push(error.trimEnd().replace(/error when creating "[^"]*": /, ''));
    }
    return [...errors.values()];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** What the server has to say in one such error, by the path of the field. */
export function sentencesIn(error: string): Map<string, string[]> {
  const sentences = new Map<string, string[]>();
  const [, list, one] = / is invalid: (?:\[(.*)\]|(.*))$/.exec(error) ?? [];
  for (const cause of (list ?? one ?? '').split(/, (?=(?:spec|metadata|<nil>)[^\s:]*: )/)) {
    const [, place, sentence] = /^([\w.[\]]+): (.+)$/.exec(cause) ?? [];
    // Of a value in a map it writes [app] where a rule is broken, and .app where the type is wrong.
    const path = place?.replaceAll(/\[([a-z]\w*)\]/gi, '.$1');
    if (path !== undefined && sentence !== undefined) sentences.set(path, [...(sentences.get(path) ?? []), sentence]);
  }
  return sentences;
}
