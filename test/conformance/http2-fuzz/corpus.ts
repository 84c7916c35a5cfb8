// What has broken a promise once, each as a file of the folder `corpus` that begins with what it was (script.ts). TO ADD ONE: the script that a
// failure prints, with a sentence before it.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readScript, type Script } from './script.ts';

const folder = join(import.meta.dirname, 'corpus');

export interface Named {
  name: string;
  script: Script;
}

export const CORPUS: readonly Named[] = readdirSync(folder)
  .filter((name) => name.endsWith('.txt'))
  .sort()
  .map((name) => ({ name: name.slice(0, -4), script: readScript(readFileSync(join(folder, name), 'utf8')) }));
