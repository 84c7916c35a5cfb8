// Every case of testdata: manifests in, what compile makes of them out. UPDATE_GOLDEN=1 rewrites the outputs; an output without an input
// fails (and is deleted by the update), so that no case is lost by renaming it.
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments, stringify } from 'yaml';
import { z } from 'zod';
import { workloadPlan } from '../../plan/plan.ts';
import { readEnvironment } from '../../runtime/environment.ts';
import { compile } from './compile.ts';
import type { CompileResult } from './result.ts';
import type { World } from './world.ts';
import { addObject, buildWorld, createWorldBuilder } from './world-builder.ts';

const root = path.join(import.meta.dirname, 'testdata');
const update = readEnvironment(z.object({ UPDATE_GOLDEN: z.literal('1').optional() })).UPDATE_GOLDEN === '1';
const cases = globSync('*/*.in.yaml', { cwd: root }).sort();

function readWorld(file: string): World {
  const builder = createWorldBuilder();
  for (const document of parseAllDocuments(readFileSync(path.join(root, file), 'utf8'))) {
    expect(document.errors).toEqual([]);
    addObject(builder, document.toJS());
  }
  return buildWorld(builder, 'cluster.local');
}

/** Versions are hashes: they would only repeat that something else changed. identity.test.ts is about them. */
function readable({ workloads, endpointSets, placements, problems, facts }: CompileResult) {
  return {
    workloads: workloads.map(({ id, plan, endpointKeys, pods, sidecars }) => ({
      id,
      plan,
      endpointKeys,
      pods,
      sidecars,
    })),
    endpointSets: [...endpointSets.values()],
    ...(placements?.size ? { placements: Object.fromEntries(placements) } : {}),
    problems,
    facts: { dependencies: Object.fromEntries(facts.dependencies), policies: Object.fromEntries(facts.policies) },
  };
}

describe('compile', () => {
  it.each(cases)('%s', (file) => {
    const result = compile(readWorld(file));
    for (const { plan } of result.workloads) expect(() => workloadPlan.parse(plan)).not.toThrow();
    const actual = stringify(readable(result), { lineWidth: 0, aliasDuplicateObjects: false });
    const golden = path.join(root, file.replace('.in.yaml', '.out.yaml'));
    if (update) writeFileSync(golden, actual);
    expect(actual).toBe(readFileSync(golden, 'utf8'));
  });

  it('has no output without an input', () => {
    const stale = globSync('*/*.out.yaml', { cwd: root }).filter(
      (file) => !cases.includes(file.replace('.out.', '.in.')),
    );
    if (update) for (const file of stale) rmSync(path.join(root, file));
    else expect(stale).toEqual([]);
    expect(cases.length).toBeGreaterThanOrEqual(30);
  });
});
