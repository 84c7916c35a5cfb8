// What the tests of examples and docs share: manifests as text → the world they describe and what compile makes of it.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { parseResiliencePolicy, parseServiceDependency } from '../crds/parse.ts';
import { compile } from '../operator/compile/compile.ts';
import type { CompileResult } from '../operator/compile/result.ts';
import { addObject, buildWorld, createWorldBuilder } from '../operator/compile/world-builder.ts';
import { workloadPlan } from '../plan/plan.ts';

export const root = resolve(import.meta.dirname, '..');
export const readText = (path: string): string => readFileSync(join(root, path), 'utf8');

/** Names of the files in examples/ itself. */
export const exampleFiles = (): string[] =>
  readdirSync(join(root, 'examples'))
    .filter((name) => name.endsWith('.yaml'))
    .sort();

export interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string };
}

/** Throws at the first document that is no YAML. */
export function manifestsOf(text: string): Manifest[] {
  return parseAllDocuments(text).flatMap((document) => {
    const [problem] = document.errors;
    if (problem) throw problem;
    const value = document.toJS() as Manifest | null;
    return value === null ? [] : [value];
  });
}

/** What the schemas have against objects of ours, as "Kind name: field: message". */
export function schemaProblems(manifests: readonly Manifest[]): string[] {
  return manifests.flatMap((manifest) => {
    const parse = { ServiceDependency: parseServiceDependency, ResiliencePolicy: parseResiliencePolicy }[manifest.kind];
    if (!manifest.apiVersion.startsWith('breakwater.dev/')) return [];
    if (!parse) return [`breakwater.dev has no kind ${manifest.kind}`];
    const result = parse(manifest);
    return result.ok
      ? []
      : result.problems.map(({ path, message }) => `${manifest.kind} ${manifest.metadata.name}: ${path}: ${message}`);
  });
}

/** Later objects replace earlier ones of the same name, as applying them would. Every plan fits its schema, or this throws. */
export function compileManifests(manifests: readonly Manifest[]): CompileResult {
  const builder = createWorldBuilder();
  const last = new Map(
    manifests.map((one) => [`${one.kind}/${one.metadata.namespace ?? ''}/${one.metadata.name}`, one]),
  );
  for (const manifest of last.values()) addObject(builder, manifest);
  const result = compile(buildWorld(builder, 'cluster.local'));
  for (const { plan } of result.workloads) workloadPlan.parse(plan);
  return result;
}
