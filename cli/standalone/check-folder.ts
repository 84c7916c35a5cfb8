// What is wrong with a folder of manifests, before anything is started: told all at once, each with file, line and field. While standalone
// runs, the operator itself keeps the last good version of a file instead.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { parseResiliencePolicy, parseServiceDependency } from '../../crds/parse.ts';
import { addObject, createWorldBuilder, ManifestError } from '../../operator/compile/objects.ts';
import { ManifestFileError, type ManifestObject, readManifestFile } from '../../operator/watch/manifest-file.ts';
import { UsageError } from '../usage-error.ts';
import { unknownFields } from './unknown-fields.ts';

const MANIFEST_NAME = /\.(ya?ml|json)$/i;
const parsers: Readonly<Record<string, typeof parseServiceDependency | typeof parseResiliencePolicy>> = {
  ServiceDependency: parseServiceDependency,
  ResiliencePolicy: parseResiliencePolicy,
};

/** Throws UsageError that says what to change; returns what is odd about a folder that can be run all the same. */
export async function checkFolder(folder: string): Promise<string[]> {
  const names = await manifestNames(folder);
  if (names.length === 0) {
    throw new UsageError(`${folder} has no manifest: put Kubernetes objects there as *.yaml, *.yml or *.json`);
  }
  const found: Findings = { errors: [], warnings: [] };
  let runnable = 0;
  for (const name of names) {
    try {
      for (const object of readManifestFile(await readFile(join(folder, name), 'utf8'), name)) {
        inspect(object, name, found);
        if (isRunnable(object.raw)) runnable++;
      }
    } catch (error) {
      found.errors.push(error instanceof ManifestFileError ? error.message : `${name}: ${(error as Error).message}`);
    }
  }
  if (found.errors.length > 0) {
    throw new UsageError(`${folder} cannot be run as it is:\n${found.errors.map((one) => `  ${one}`).join('\n')}`);
  }
  if (runnable === 0) {
    throw new UsageError(`${folder} has no Pod and no ServiceDependency: there is nobody to run a sidecar for`);
  }
  return found.warnings;
}

interface Findings {
  errors: string[];
  warnings: string[];
}

async function manifestNames(folder: string): Promise<string[]> {
  try {
    if (!(await stat(folder)).isDirectory()) {
      throw new UsageError(`${folder} is a file: name the folder that holds the manifests`);
    }
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory() && MANIFEST_NAME.test(entry.name))
      .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
      .filter((name) => !name.split('/').some((part) => part.startsWith('.')))
      .sort();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const isMissing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    throw new UsageError(
      isMissing ? `${folder} does not exist` : `${folder} cannot be read: ${(error as Error).message}`,
    );
  }
}

interface RawObject {
  kind?: unknown;
  apiVersion?: unknown;
  metadata?: { name?: unknown };
  spec?: unknown;
}

function inspect({ raw, line }: ManifestObject, file: string, found: Findings): void {
  const { kind, apiVersion, metadata, spec } = (raw ?? {}) as RawObject;
  const place = `${file}:${line}: `;
  if (typeof kind !== 'string' || typeof apiVersion !== 'string') {
    found.errors.push(`${place}this is no Kubernetes object: kind or apiVersion is missing`);
  } else if (!apiVersion.startsWith('breakwater.dev/')) {
    inspectForeign(raw, place, found);
  } else {
    const parse = parsers[kind];
    if (!parse) {
      found.errors.push(`${place}breakwater.dev has no kind ${kind}: ${Object.keys(parsers).join(' or ')}`);
      return;
    }
    const object = `${place}${kind} ${typeof metadata?.name === 'string' ? metadata.name : '(without a name)'}: `;
    const result = parse(raw);
    if (result.ok) {
      const unknown = unknownFields(spec, result.model.spec, 'spec');
      found.warnings.push(
        ...unknown.map((path) => `${object}${path} is not known and has no effect; kubectl would refuse it`),
      );
    } else {
      found.errors.push(
        ...result.problems.map(({ path, message }) => `${object}${path === '' ? '' : `${path}: `}${message}`),
      );
    }
  }
}

function inspectForeign(raw: unknown, place: string, found: Findings): void {
  try {
    addObject(createWorldBuilder(), raw);
  } catch (error) {
    if (!(error instanceof ManifestError)) throw error;
    found.errors.push(`${place}${error.message}`);
  }
}

function isRunnable(raw: unknown): boolean {
  const { kind } = (raw ?? {}) as RawObject;
  return kind === 'Pod' || kind === 'ServiceDependency';
}
