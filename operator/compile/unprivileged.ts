// Pods whose connections are not redirected. They learn at their birth where the sidecar stands for what they depend on, and never again;
// so what their ServiceDependency says now may not hold for them, and it must say for how many, why, and what to do.
import type { LeftOutReason } from '../../plan/bootstrap.ts';
import type { Birth, BornWith } from './birth.ts';
import type { CompiledDependency } from './dependencies.ts';
import { type Place, problem, type Reason } from './problem.ts';
import { restartCommand } from './restart.ts';
import type { Problem } from './result.ts';
import type { WorldPod } from './world.ts';
import { keyOf } from './world-index.ts';

/** How many of how many pods, and which they are. */
interface Affected {
  pods: WorldPod[];
  port: number | undefined;
}

/** `pods`: those that the ServiceDependency selects; `dependencies`: what it declares and what exists. */
export function unprivilegedProblems(
  place: Place,
  pods: readonly WorldPod[],
  dependencies: readonly CompiledDependency[],
): Problem[] {
  const present = pods.filter((pod) => !pod.terminating);
  const byBirth = new Map<Birth, WorldPod[]>();
  for (const pod of present) {
    if (pod.birth === undefined) continue;
    const alike = byBirth.get(pod.birth);
    if (alike) alike.push(pod);
    else byBirth.set(pod.birth, [pod]);
  }
  if (byBirth.size === 0) return [];
  return dependencies.flatMap((dependency) => problemsOf(place, present.length, byBirth, dependency));
}

function problemsOf(
  place: Place,
  of: number,
  byBirth: ReadonlyMap<Birth, readonly WorldPod[]>,
  dependency: CompiledDependency,
): Problem[] {
  const affected = new Map<Cause, Affected>();
  for (const [birth, pods] of byBirth) {
    const why = causeOf(birth.get(destinationOf(dependency)), dependency);
    if (why === undefined) continue;
    const known = affected.get(why.cause);
    if (known) known.pods.push(...pods);
    else affected.set(why.cause, { pods: [...pods], port: why.port });
  }
  const at = { ...place, field: dependency.field };
  return [...affected].map(([cause, { pods, port }]) =>
    problem(REASONS[cause], at, {
      count: pods.length,
      of,
      destination: describe(dependency),
      port: port ?? 0,
      restart: restartCommand(pods),
    }),
  );
}

type Cause = Exclude<LeftOutReason, 'ExternalName' | 'NotThere'> | 'Predates';

const REASONS = {
  Predates: 'PodsPredateDependency',
  PortInUse: 'PortInUse',
  PrivilegedPort: 'PrivilegedPort',
  Headless: 'HeadlessNotAliased',
  NotOnlyTcp: 'NotOnlyTcp',
  NameTaken: 'NameTaken',
  NoRoom: 'BootstrapFull',
} as const satisfies Record<Cause, Reason>;

/** Undefined: the pod's calls to it reach the sidecar. What was in the way at birth and is no longer, a restart mends. */
function causeOf(
  born: BornWith | undefined,
  dependency: CompiledDependency,
): { cause: Cause; port: number | undefined } | undefined {
  const called = dependency.plan.service?.port ?? dependency.plan.host?.port ?? 0;
  if (born !== undefined && 'ports' in born && born.ports.includes(called)) return undefined;
  if (born === undefined || 'ports' in born) return { cause: 'Predates', port: undefined };
  const { leftOut, port } = born;
  // What is declared in the plan is there by now.
  if (leftOut === 'ExternalName' || leftOut === 'NotThere') return { cause: 'Predates', port };
  return { cause: isStillInTheWay(leftOut, port, dependency) ? leftOut : 'Predates', port };
}

function isStillInTheWay(
  cause: Exclude<Cause, 'Predates'>,
  port: number | undefined,
  { target, plan }: CompiledDependency,
): boolean {
  if (cause === 'NameTaken' || cause === 'NoRoom') return true;
  if (cause === 'Headless') return target?.service.headless ?? false;
  if (cause === 'NotOnlyTcp') return target?.service.ports.some(({ protocol }) => protocol !== 'TCP') ?? false;
  const ports = plan.service?.ports ?? [plan.host?.port];
  return port !== undefined && ports.includes(port);
}

function destinationOf({ plan }: CompiledDependency): string {
  return plan.service === null ? (plan.host?.name ?? '') : keyOf(plan.service);
}

function describe({ plan }: CompiledDependency): string {
  return plan.service === null ? `host ${plan.host?.name ?? ''}` : `Service ${keyOf(plan.service)}`;
}

/** `undeclared` of pods that see only what was declared. */
export function undeclaredProblems(place: Place, undeclared: string | undefined, pods: readonly WorldPod[]): Problem[] {
  if (undeclared !== 'Warn' && undeclared !== 'Deny') return [];
  const present = pods.filter((pod) => !pod.terminating);
  const count = present.filter(({ capture }) => capture === 'loopback' || capture === 'explicit').length;
  if (count === 0) return [];
  const at = { ...place, field: 'spec.undeclared' };
  return [problem('UndeclaredNotEnforced', at, { count, of: present.length, undeclared })];
}
