// The dependencies on which only policies of connections act, as a status tells them: declared so by their port, or found to be so by sidecars.
import type { ServiceDependencyStatus } from '../../crds/service-dependency.ts';
import type { CompileResult, OwnKind } from '../compile/result.ts';
import type { OpaqueSummary } from '../distribute/opaque.ts';
import { entryOf } from './circuits.ts';

export type OpaqueDependency = NonNullable<ServiceDependencyStatus['opaqueDependencies']>[number];

interface Planned {
  port: number;
  isDeclaredOpaque: boolean;
}

/** One pass over all plans per result, not per object. */
const plannedByResult = new WeakMap<CompileResult, ReadonlyMap<string, Planned>>();

function plannedIn(result: CompileResult): ReadonlyMap<string, Planned> {
  let planned = plannedByResult.get(result);
  if (planned === undefined) {
    const dependencies = result.workloads.flatMap(({ plan }) => plan.dependencies);
    planned = new Map(
      dependencies.map(({ id, host, service, protocol }) => [
        id,
        { port: host?.port ?? service?.port ?? 0, isDeclaredOpaque: protocol === 'Opaque' },
      ]),
    );
    plannedByResult.set(result, planned);
  }
  return planned;
}

/** By dependency. */
export function opaqueDependencies(
  kind: OwnKind,
  concerns: (dependencyId: string) => boolean,
  result: CompileResult,
  found: readonly OpaqueSummary[],
): OpaqueDependency[] {
  const byId = new Map(found.map((it) => [it.dependencyId, it]));
  return [...plannedIn(result)]
    .filter(([id, { isDeclaredOpaque }]) => concerns(id) && (isDeclaredOpaque || byId.has(id)))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([id, { port, isDeclaredOpaque }]): OpaqueDependency => {
      const summary = byId.get(id);
      return {
        dependency: kind === 'ServiceDependency' ? entryOf(id) : id,
        port,
        protocol: summary?.protocol ?? 'Opaque',
        declared: isDeclaredOpaque,
        // What the port declares holds wherever it is.
        sidecars: isDeclaredOpaque ? undefined : summary?.sidecars,
        totalSidecars: isDeclaredOpaque ? undefined : summary?.totalSidecars,
        alsoHttp: summary?.alsoHttp === true && !isDeclaredOpaque ? true : undefined,
      };
    });
}

const WORDS = { Tls: 'TLS', ServerFirst: 'opaque, its server speaks first', Opaque: 'opaque' } as const;

/** "stripe:443 is TLS, db:5432 is opaque in 3 of 12". */
export function describeOpaque(opaque: readonly OpaqueDependency[]): string {
  return opaque
    .map(({ dependency, port, protocol, sidecars = 0, totalSidecars = 0, alsoHttp }) => {
      const where = sidecars < totalSidecars ? ` in ${sidecars} of ${totalSidecars}` : '';
      return `${entryOf(dependency)}:${port} is ${WORDS[protocol]}${alsoHttp ? ', beside HTTP,' : ''}${where}`;
    })
    .join(', ');
}
