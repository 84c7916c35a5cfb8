// For the tests of this folder: a cluster that holds objects of ours and nothing else, and what the compiler makes of that.
import { INJECTION_DEFAULTS } from '../compile/capture.ts';
import type { CompileResult } from '../compile/result.ts';
import type { World } from '../compile/world.ts';
import type { OwnObject, WorldSource } from '../watch/world-source.ts';

export const EMPTY_RESULT: CompileResult = {
  workloads: [],
  endpointSets: new Map(),
  problems: [],
  facts: { dependencies: new Map(), policies: new Map() },
};

/** `objects` may change; its keys are those of `ownKey`. */
export function sourceOf(objects: ReadonlyMap<string, OwnObject>): WorldSource {
  const world = (): World => ({
    clusterDomain: 'cluster.local',
    systemNamespace: 'breakwater-system',
    injection: INJECTION_DEFAULTS,
    namespaces: [],
    services: [],
    endpointSlices: [],
    pods: [],
    serviceDependencies: [],
    resiliencePolicies: [],
    refusals: [],
    invalid: [...objects.values()].flatMap(({ content }) => ('invalid' in content ? [content.invalid] : [])),
  });
  return { world, own: (key: string) => objects.get(key) } as unknown as WorldSource;
}
