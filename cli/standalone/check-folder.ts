// What is wrong with a folder of manifests, before anything is started: told all at once, each with file, line and field. While standalone
// runs, the operator itself keeps the last good version of a file instead.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parseResiliencePolicy, parseServiceDependency } from '../../crds/parse.ts';
import { addObject, createWorldBuilder, ManifestError } from '../../operator/compile/objects.ts';
import { ManifestFileError, type ManifestObject, readManifestFile } from '../../operator/watch/manifest-file.ts';
import { UsageError } from '../usage-error.ts';

const MANIFEST_NAME = /\.(ya?ml|json)$/i;
const parsers: Readonly<Record<string, typeof parseServiceDependency | typeof parseResiliencePolicy>> = {
  ServiceDependency: parseServiceDependency,
  ResiliencePolicy: parseResiliencePolicy,
};

/** Throws UsageError that says what to change; returns where the folder can be run. */
export async function checkFolder(folder: string): Promise<void> {
  const names = await manifestNames(folder);
  if (names.length === 0) {
    throw new UsageError(`${folder} has no manifest: put Kubernetes objects there as *.yaml, *.yml or *.json`);
  }
  const problems: string[] = [];
  let runnable = 0;
  for (const name of names) {
    const text = await readFile(join(folder, name), 'utf8');
    try {
      for (const object of readManifestFile(text, name)) {
        problems.push(...problemsOf(object, name));
        if (isRunnable(object.raw)) runnable++;
      }
    } catch (error) {
      if (!(error instanceof ManifestFileError)) throw error;
      problems.push(error.message);
    }
  }
  if (problems.length > 0)
    throw new UsageError(`${folder} cannot be run as it is:\n${problems.map((one) => `  ${one}`).join('\n')}`);
  if (runnable === 0) {
    throw new UsageError(`${folder} has no Pod and no ServiceDependency: there is nobody to run a sidecar for`);
  }
}

async function manifestNames(folder: string): Promise<string[]> {
  try {
    if (!(await stat(folder)).isDirectory())
      throw new UsageError(`${folder} is a file: name the folder that holds the manifests`);
    const names = await readdir(folder, { recursive: true });
    return names
      .filter((name) => MANIFEST_NAME.test(name) && !name.split('/').some((part) => part.startsWith('.')))
      .sort();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const code = (error as NodeJS.ErrnoException).code;
    throw new UsageError(
      code === 'ENOENT' ? `${folder} does not exist` : `${folder} cannot be read: ${(error as Error).message}`,
    );
  }
}

function problemsOf({ raw, line }: ManifestObject, file: string): string[] {
  const { kind, apiVersion, metadata } = (raw ?? {}) as {
    kind?: unknown;
    apiVersion?: unknown;
    metadata?: { name?: unknown };
  };
  const place = `${file}:${line}: `;
  if (typeof kind !== 'string' || typeof apiVersion !== 'string')
    return [`${place}this is no Kubernetes object: kind or apiVersion is missing`];
  const parse = apiVersion.startsWith('breakwater.dev/') ? parsers[kind] : undefined;
  if (parse !== undefined) {
    const result = parse(raw);
    const object = `${kind} ${typeof metadata?.name === 'string' ? metadata.name : '(without a name)'}`;
    return result.ok
      ? []
      : result.problems.map(({ path, message }) => `${place}${object}: ${path === '' ? '' : `${path}: `}${message}`);
  }
  if (apiVersion.startsWith('breakwater.dev/'))
    return [`${place}breakwater.dev has no kind ${kind}: ${Object.keys(parsers).join(' or ')}`];
  try {
    addObject(createWorldBuilder(), raw);
    return [];
  } catch (error) {
    if (error instanceof ManifestError) return [`${place}${error.message}`];
    throw error;
  }
}

function isRunnable(raw: unknown): boolean {
  const { kind } = (raw ?? {}) as { kind?: unknown };
  return kind === 'Pod' || kind === 'ServiceDependency';
}
