// Every mistake that compile can find, and everything that a user should know: one list of reasons, each with the condition it belongs
// to, its severity and a message that names what is wrong and what to change. `Error` turns the condition False; `Warning` adds words.

import { quoted } from '../../runtime/printable.ts';
import { define } from './define-problem.ts';
import { CONTRADICTIONS, type Contradiction } from './policies/contradictions.ts';
import type { OwnKind, Problem } from './result.ts';
import type { InvalidObject, ObjectKey } from './world.ts';

export const PROBLEMS = {
  // The object itself.
  Invalid: define('Accepted', 'Error', (it: { message: string }) => it.message),
  InvalidEnforcementAnnotation: define(
    'Accepted',
    'Warning',
    (it: { on: string; value: string }) =>
      `annotation breakwater.dev/enforcement on ${it.on} is ${quoted(it.value, 64)}, which means nothing, so policies stay enforced; write "disabled" to switch them off, or remove it`,
  ),

  // What a policy targets.
  TargetNotFound: define(
    'Accepted',
    'Error',
    (it: { target: string }) =>
      `${it.target} does not exist; create it, correct the name, or put the policy into the namespace of its target`,
  ),
  TargetInvalid: define(
    'Accepted',
    'Error',
    (it: { target: string }) =>
      `${it.target} is invalid, so the policy cannot act on it; see the status of ${it.target}`,
  ),
  NamespaceNotOwn: define(
    'Accepted',
    'Error',
    (it: { namespace: string; target: string }) =>
      `a policy acts on no namespace but its own: write name: ${it.namespace}, or put the policy into Namespace ${it.target}`,
  ),
  PlatformOfOperatorOnly: define(
    'Accepted',
    'Error',
    (it: { namespace: string; systemNamespace: string }) =>
      `only a policy in the namespace of the operator acts on the Platform: put it into ${it.systemNamespace}, or target Namespace ${it.namespace}`,
  ),
  SectionNotFound: define(
    'Accepted',
    'Error',
    (it: { target: string; section: string; present: readonly string[] }) =>
      `${it.target} has no entry ${it.section} in dependsOn; name one of ${it.present.join(', ')}, or leave sectionName out`,
  ),
  Conflicted: define(
    'Accepted',
    'Error',
    (it: { target: string; winner: string }) =>
      `ResiliencePolicy ${it.winner} is older and targets ${it.target} too, so this one has no effect on it; merge the two, or delete one`,
  ),
  TooManyRules: define(
    'Accepted',
    'Error',
    (it: { dependency: string; combinations: number; limit: number; rows: number }) =>
      `on ${it.dependency} the rules of this policy combine with those of wider policies in ${it.combinations} ways, more than the ${it.limit} ways or ${it.rows} different outcomes a plan can hold, so this policy is left out there; use fewer rules, or put the rules into one policy`,
  ),
  PlanTooLarge: define(
    'Programmed',
    'Error',
    (it: { dependency: string; workload: string; limit: number }) =>
      `the plan of workload ${it.workload} would be larger than ${it.limit} bytes, so for ${it.dependency} only what stands beside rules is enforced; use fewer rules, or select fewer dependencies per pod`,
  ),
  TooManyDependencies: define(
    'Programmed',
    'Error',
    (it: { dependency: string; limit: number }) =>
      `a pod may have at most ${it.limit} dependencies over all ServiceDependencies that select it, so ${it.dependency} is left out; remove dependencies, or narrow consumer.selector`,
  ),
  ActsOnDeclaredCallsOnly: define(
    'Accepted',
    'Warning',
    (it: { target: string }) =>
      `acts only on ${it.target} that a ServiceDependency declares; for other callers, declare theirs too`,
  ),
  ActsOnNothing: define(
    'Accepted',
    'Warning',
    (it: { target: string }) =>
      `acts on nothing yet: no resolved dependency belongs to ${it.target}; declare one in a ServiceDependency`,
  ),

  // What merging shows.
  ...CONTRADICTIONS,
  DisabledByWiderPolicy: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; block: string; by: string }) =>
      `${it.block} has no effect on ${it.dependency}: ResiliencePolicy ${it.by} says mode: Disabled; write mode: Enforce in ${it.block} to switch it on again`,
  ),
  NoEffect: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; blocks: readonly string[]; protocol: string }) =>
      `${it.blocks.join(', ')} ${it.blocks.length === 1 ? 'has' : 'have'} no effect on ${it.dependency}: ${it.protocol}, so its bytes are passed on untouched and only policies of connections act (docs/tcp.md); if it speaks HTTP, set appProtocol: http on the port of the Service`,
  ),

  NoEffectOnTls: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; blocks: readonly string[]; host: string }) =>
      `${it.blocks.join(', ')} ${it.blocks.length === 1 ? 'has' : 'have'} no effect on ${it.dependency} where the application speaks TLS to ${it.host}: the bytes are passed on untouched, and only policies of connections act (docs/tcp.md); to have the rest, let the application speak plain HTTP`,
  ),

  NoEffectWithoutChoice: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; blocks: readonly string[]; service: string; why: string }) =>
      `${it.blocks.join(', ')} ${it.blocks.length === 1 ? 'has' : 'have'} no effect on ${it.dependency}: Service ${it.service} ${it.why}`,
  ),
  // What a policy says of this dependency alone.
  FallbackNotFound: define(
    'Accepted',
    'Error',
    (it: { dependency: string; fallback: string; present: readonly string[]; isEnforced: boolean }) =>
      `${fallsBack(it)}, which is no entry of the same ServiceDependency that can be called, so ${withoutFallback(it)}; ${it.present.length === 0 ? 'add that entry' : `name one of ${it.present.join(', ')}, or add that entry`}`,
  ),
  FallbackNotHttp: define(
    'Accepted',
    'Error',
    (it: { dependency: string; fallback: string; isEnforced: boolean }) =>
      `${fallsBack(it)}, which does not speak plain HTTP, so ${withoutFallback(it)}; name an entry that does`,
  ),
  FallbackLoop: define(
    'Accepted',
    'Error',
    (it: { dependency: string; circle: string; isEnforced: boolean }) =>
      `${it.dependency} has a fallback${it.isEnforced ? '' : ' in shadow'} that leads back to it (${it.circle}), so ${withoutFallback(it)}; remove one of these fallbacks`,
  ),
  FaultsInjected: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; faults: readonly string[] }) =>
      `faults are injected on purpose into calls of ${it.dependency}: ${it.faults.join(', ')}; remove faultInjection, or write mode: Disabled, when the game day is over`,
  ),

  NothingToShadow: define(
    'Accepted',
    'Warning',
    (it: { dependency: string; blocks: readonly string[]; isTls: boolean }) =>
      `${it.blocks.join(', ')} cannot be shadowed on ${it.dependency}${it.isTls ? ' where the application speaks TLS' : ''}: the bytes are passed on untouched, so that there are no requests to judge; shadow what speaks plain HTTP, or remove mode: Shadow`,
  ),

  // What a dependency refers to.
  ServiceNotFound: define(
    'ResolvedRefs',
    'Error',
    (it: { service: string }) =>
      `Service ${it.service} does not exist, so its calls pass without policies; create it, or correct name and namespace`,
  ),
  PortNotFound: define(
    'ResolvedRefs',
    'Error',
    (it: { service: string; port: string; present: readonly string[] }) =>
      `Service ${it.service} has no port ${it.port}; use ${it.present.length === 0 ? 'a port after adding one to the Service' : `one of ${it.present.join(', ')}`}`,
  ),
  PortNotTcp: define(
    'ResolvedRefs',
    'Error',
    (it: { service: string; port: string; protocol: string }) =>
      `port ${it.port} of Service ${it.service} is ${it.protocol}; only TCP can be protected: name a TCP port, or remove the entry`,
  ),
  ExternalName: define(
    'ResolvedRefs',
    'Error',
    (it: { service: string }) =>
      `Service ${it.service} is of type ExternalName: an alias without address or endpoints; name the Service it stands for, or remove the entry`,
  ),
  HostIsService: define(
    'ResolvedRefs',
    'Error',
    (it: { host: string }) =>
      `${it.host} is the name of a Service of the cluster, whose connections are recognised by its ClusterIP and not by a host, so its calls pass without policies; write service: {name, namespace, port} in the place of host`,
  ),
  Headless: define(
    'ResolvedRefs',
    'Warning',
    (it: { service: string }) =>
      `Service ${it.service} is headless: each call goes to the pod that the application chose; for balancing give the Service a ClusterIP`,
  ),
  SessionAffinity: define(
    'ResolvedRefs',
    'Warning',
    (it: { service: string }) =>
      `Service ${it.service} has sessionAffinity: ClientIP, so it is called at its ClusterIP and Kubernetes chooses the pod; for balancing remove sessionAffinity`,
  ),
  InternalTrafficPolicyLocal: define(
    'ResolvedRefs',
    'Warning',
    (it: { service: string }) =>
      `Service ${it.service} has internalTrafficPolicy: Local, so it is called at its ClusterIP and Kubernetes chooses a pod of the same node; for balancing set it to Cluster`,
  ),
  TooManyEndpoints: define(
    'ResolvedRefs',
    'Warning',
    (it: { service: string; limit: number; omitted: number }) =>
      `Service ${it.service} has more than ${it.limit} endpoints; ${it.omitted} of them get no calls: split the Service`,
  ),

  // Who calls.
  DuplicateDestination: define(
    'Accepted',
    'Warning',
    (it: { destination: string; by: string }) =>
      `${it.destination} is declared by ${it.by} too, for the same pods, and that declaration counts; remove one of the two`,
  ),
  DuplicateName: define(
    'Accepted',
    'Warning',
    (it: { name: string; by: string }) =>
      `${it.by} has an entry named ${it.name} too, for the same pods and another destination, so metrics cannot tell them apart; rename one of the two`,
  ),
  NoPodsSelected: define(
    'Programmed',
    'Warning',
    (it: { namespace: string }) =>
      `consumer.selector selects no pod of namespace ${it.namespace}; correct the selector, put this object into the namespace of its pods, or start the pods`,
  ),
  PodsNotInjected: define(
    'Programmed',
    'Warning',
    (it: { count: number; of: number; why: string }) => `${it.count} of ${it.of} pods have no sidecar: ${it.why}`,
  ),
  InjectionRefused: define(
    'Programmed',
    'Error',
    (it: { owner: string; message: string; fix: string }) =>
      `${it.owner} cannot create its pods, because another check refuses what injection adds to them; ${it.fix}. It says: ${it.message}`,
  ),
  PodsPredateDependency: define(
    'Programmed',
    'Error',
    (it: { count: number; of: number; destination: string; restart: string }) =>
      `${it.count} of ${it.of} pods were started before this entry was declared as it is, and without privileges a pod learns only at its start what it depends on, so no policy acts on their calls to ${it.destination}; restart them: ${it.restart}`,
  ),
  PodsPredateCertificates: define(
    'Programmed',
    'Error',
    (it: { count: number; of: number; host: string; objects: readonly string[]; restart: string }) =>
      `${it.count} of ${it.of} pods were started before this entry named ${it.objects.join(', ')}, and a pod is given certificates only at its start, so their calls to ${it.host} fail; restart them: ${it.restart}`,
  ),
  // What sidecars tell of TLS to hosts.
  InvalidCertificate: define(
    'ResolvedRefs',
    'Error',
    (it: { sidecars: number; of: number; message: string }) => `in ${it.sidecars} of ${it.of} sidecars: ${it.message}`,
  ),
  TlsFails: define(
    'ResolvedRefs',
    'Warning',
    (it: { sidecars: number; of: number; message: string }) =>
      `in ${it.sidecars} of ${it.of} sidecars no connection is made: ${it.message}`,
  ),
  PortInUse: define(
    'Programmed',
    'Error',
    (it: { count: number; of: number; destination: string; port: number; restart: string }) =>
      `in ${it.count} of ${it.of} pods a container uses port ${it.port} of ${it.destination} itself, which it could not bind if the sidecar listened there, so no policy acts on these calls; give the Service another port, or annotate the pods with breakwater.dev/capture: explicit or iptables, then restart them: ${it.restart}`,
  ),
  PrivilegedPort: define(
    'Programmed',
    'Error',
    (it: { count: number; of: number; destination: string; port: number; restart: string }) =>
      `in ${it.count} of ${it.of} pods nobody but root may listen on port ${it.port} of ${it.destination}, because they set net.ipv4.ip_unprivileged_port_start, so no policy acts on these calls; remove that sysctl, give the Service a port above it, or annotate the pods with breakwater.dev/capture: explicit or iptables, then restart them: ${it.restart}`,
  ),
  HeadlessNotAliased: define(
    'Programmed',
    'Error',
    (it: { count: number; of: number; destination: string; restart: string }) =>
      `${it.destination} is headless, so its name cannot lead to the sidecars of ${it.count} of ${it.of} pods (capture loopback), and no policy acts on these calls; give the Service a ClusterIP, or annotate the pods with breakwater.dev/capture: explicit or iptables, then restart them: ${it.restart}`,
  ),
  NotOnlyTcp: define(
    'Programmed',
    'Error',
    (it: { count: number; of: number; destination: string; restart: string }) =>
      `${it.destination} has ports that are not TCP, which nobody would answer if its name led to the sidecars of ${it.count} of ${it.of} pods (capture loopback), so no policy acts on these calls; move those ports to a Service of their own, or annotate the pods with breakwater.dev/capture: explicit or iptables, then restart them: ${it.restart}`,
  ),
  NameTaken: define(
    'Programmed',
    'Error',
    (it: { count: number; of: number; destination: string; restart: string }) =>
      `hostAliases of ${it.count} of ${it.of} pods name ${it.destination} already and lead elsewhere, so no policy acts on these calls; remove them from the pods, or annotate the pods with breakwater.dev/capture: explicit or iptables, then restart them: ${it.restart}`,
  ),
  BootstrapFull: define(
    'Programmed',
    'Error',
    (it: { count: number; of: number; destination: string; restart: string }) =>
      `${it.count} of ${it.of} pods had no room for ${it.destination} among what they are born with, so no policy acts on these calls; select fewer dependencies per pod, or annotate the pods with breakwater.dev/capture: iptables, then restart them: ${it.restart}`,
  ),
  UndeclaredNotEnforced: define(
    'Programmed',
    'Warning',
    (it: { count: number; of: number; undeclared: string }) =>
      `undeclared: ${it.undeclared} is not enforced in ${it.count} of ${it.of} pods, whose sidecars see only what is declared (capture loopback or explicit); annotate the pods with breakwater.dev/capture: iptables where that is allowed, or use a NetworkPolicy`,
  ),
  EnforcementDisabled: define(
    'Programmed',
    'Warning',
    (it: { on: string }) =>
      `annotation breakwater.dev/enforcement: disabled on ${it.on} switches all policies off; remove the annotation to enforce them again`,
  ),
  EnforcementDisabledThere: define(
    'Programmed',
    'Warning',
    (it: { dependency: string; on: string }) =>
      `has no effect on ${it.dependency}: annotation breakwater.dev/enforcement: disabled on ${it.on} switches all policies off there; remove the annotation to enforce them again`,
  ),
} as const;

export type Reason = keyof typeof PROBLEMS;
type Details<R extends Reason> = Parameters<(typeof PROBLEMS)[R]['message']>[0];

export interface Place {
  kind: OwnKind;
  object: ObjectKey;
  /** Path of the field: "spec.dependsOn[0].service.name"; empty where it concerns the whole. */
  field: string;
}

export function problem<R extends Reason>(reason: R, place: Place, details: Details<R>): Problem {
  const { condition, severity, message } = PROBLEMS[reason];
  const { namespace, name } = place.object;
  return {
    kind: place.kind,
    object: { namespace, name },
    field: place.field,
    condition,
    severity,
    reason,
    message: (message as (details: Details<R>) => string)(details),
  };
}

export function contradictionProblem({ reason, details }: Contradiction, place: Place, dependency: string): Problem {
  return problem(reason, place, { dependency, ...details });
}

/** Objects that could not be read: every field that is wrong, or the object as a whole. */
export function invalidObjects(objects: readonly InvalidObject[]): Problem[] {
  return objects.flatMap((object) => {
    const wrong = object.problems.length > 0 ? object.problems : [{ path: '', message: 'the object cannot be read' }];
    return wrong.map(({ path, message }) =>
      problem('Invalid', { kind: object.kind, object, field: path }, { message }),
    );
  });
}

/** Each problem once, in an order that depends on nothing but the problems. */
export function sortedProblems(problems: Iterable<Problem>): Problem[] {
  const unique = new Map<string, Problem>();
  for (const it of problems) {
    unique.set([it.kind, it.object.namespace, it.object.name, it.field, it.reason, it.message].join('\u0000'), it);
  }
  return [...unique.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, it]) => it);
}

/** "shop/checkout/payments falls back to nobody" */
function fallsBack({
  dependency,
  fallback,
  isEnforced,
}: {
  dependency: string;
  fallback: string;
  isEnforced: boolean;
}) {
  return `${dependency} ${isEnforced ? 'falls' : 'would fall'} back to ${fallback}`;
}

function withoutFallback({ isEnforced }: { isEnforced: boolean }): string {
  return isEnforced ? 'its failures are answered as without a fallback' : 'nothing is shadowed of it';
}
