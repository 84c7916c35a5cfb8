// World → plans, endpoint sets and problems. Pure: equal worlds, in whatever order they list their objects, give equal results.
import { attach } from './attach.ts';
import { compileDependencies } from './dependencies.ts';
import { compileEndpointSets } from './endpoints.ts';
import { dependencyFacts, policyFacts } from './facts.ts';
import { compilePlacements } from './placements.ts';
import { invalidObjects, sortedProblems } from './problem.ts';
import { resolve } from './resolve.ts';
import type { CompileResult } from './result.ts';
import { compileWorkloads } from './workloads.ts';
import type { World } from './world.ts';
import { indexWorld } from './world-index.ts';

export function compile(world: World): CompileResult {
  const index = indexWorld(world);
  const attachments = attach(index);
  const resolution = resolve(index);
  const compiled = compileDependencies(resolution.dependencies, attachments);
  const { workloads, problems } = compileWorkloads(index, compiled.dependencies);
  const endpoints = compileEndpointSets(index, compiled.dependencies);
  const policies = policyFacts(index, attachments, compiled.dependencies, workloads);
  const facts = { dependencies: dependencyFacts(index, resolution.dependencies, workloads), policies: policies.facts };
  const steps = [attachments, resolution, compiled, { problems }, endpoints, policies].flatMap((step) => step.problems);
  return {
    workloads,
    endpointSets: endpoints.sets,
    placements: compilePlacements(index, endpoints.sets),
    problems: sortedProblems([...invalidObjects(index.invalid), ...steps]),
    facts,
  };
}
