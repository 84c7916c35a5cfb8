// Resolved dependencies and attached policies → the finished dependency plans, and what their policies should be told.
import { BLOCKS, type BlockName } from '../../crds/policies/blocks.ts';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import { type DependencyPlan, PLAN_LIMITS } from '../../plan/plan.ts';
import { activeFaults } from './active-faults.ts';
import { type Attachments, policiesFor, targetsOf } from './attach.ts';
import { settleFallbacks } from './fallbacks.ts';
import { versionOf } from './identity.ts';
import type { BlockCompiler, Blocks } from './policies/block.ts';
import { active, COMPILERS } from './policies/blocks.ts';
import { contradictionProblem, problem } from './problem.ts';
import { isTlsPort } from './protocol.ts';
import type { ResolvedDependency } from './resolve.ts';
import type { Problem } from './result.ts';
import { MAX_ROWS, type Routes, routesOf } from './routes.ts';
import { keyOf } from './world-index.ts';

export interface CompiledDependency extends ResolvedDependency {
  plan: DependencyPlan;
  /** Of the plan: equal plans have equal ones. */
  version: string;
  /** Of the plan, as JSON. */
  bytes: number;
  /** The policies in force, widest first. */
  policies: readonly ResiliencePolicy[];
}

export interface CompiledDependencies {
  /** In the order of the resolution: owners oldest first. */
  dependencies: readonly CompiledDependency[];
  problems: readonly Problem[];
}

export function compileDependencies(
  resolved: readonly ResolvedDependency[],
  attachments: Attachments,
): CompiledDependencies {
  const problems: Problem[] = [];
  const dependencies = resolved.map((dependency): CompiledDependency => {
    const { owner, base, target } = dependency;
    const targets = targetsOf(owner.metadata, base.name, target?.service);
    const routes = routesOf(policiesFor(attachments, targets));
    const opaque = base.protocol === 'Opaque';
    problems.push(...routeProblems(base.id, routes, opaque));
    for (const policy of routes.policies) {
      if (opaque || isTlsPort(base.host)) problems.push(...noEffect(dependency, policy));
      problems.push(...noEffectWithoutChoice(dependency, policy, opaque));
      const place = { kind: policy.kind, object: policy.metadata, field: '' };
      problems.push(
        ...dependency.disabledBy.map((on) => problem('EnforcementDisabledThere', place, { dependency: base.id, on })),
      );
    }
    const { table, version, bytes } = opaque ? routes.opaque : routes.http;
    return {
      ...dependency,
      plan: { ...base, ...table },
      version: versionOf([base, version]),
      bytes: bytes + Buffer.byteLength(JSON.stringify(base)),
      policies: routes.policies,
    };
  });
  const settled = settleFallbacks({ dependencies, problems });
  return { ...settled, problems: [...settled.problems, ...activeFaults(settled.dependencies)] };
}

function routeProblems(dependency: string, routes: Routes, opaque: boolean): Problem[] {
  const on = (policy: ResiliencePolicy, field: string) => ({ kind: policy.kind, object: policy.metadata, field });
  const problems = routes.leftOut.map(({ policy, combinations }) =>
    problem('TooManyRules', on(policy, 'spec.rules'), {
      dependency,
      combinations,
      limit: PLAN_LIMITS.combinations,
      rows: MAX_ROWS,
    }),
  );
  for (const { policy, field, contradiction } of routes.contradictions) {
    // What an opaque dependency does not enforce is said to have no effect, and cannot contradict anything.
    if (opaque && !(isBesideRules(field) && contradiction.fields.every(([block, name]) => actsOpaquely(block, name))))
      continue;
    problems.push(contradictionProblem(contradiction, on(policy, field), dependency));
  }
  for (const { policy, field, block, by } of routes.switchedOff) {
    if (opaque && !(isBesideRules(field) && actsOpaquely(block, ''))) continue;
    problems.push(problem('DisabledByWiderPolicy', on(policy, field), { dependency, block, by: keyOf(by.metadata) }));
  }
  return problems;
}

const isBesideRules = (field: string) => !field.startsWith('spec.rules');

/** `field`: "backoff.max"; empty for the block as a whole. */
function actsOpaquely(block: BlockName, field: string): boolean {
  const { needsCodec } = COMPILERS[block];
  return needsCodec !== 'All' && !needsCodec.some((name) => name === field.split('.', 1)[0]);
}

/** Why the sidecar does not choose the endpoint, and what to do about it. */
const NO_CHOICE = {
  Headless: 'is headless, so each call goes to the pod that the application chose; give the Service a ClusterIP',
  SessionAffinity:
    'has sessionAffinity: ClientIP, so Kubernetes chooses the pod and not the sidecar; remove sessionAffinity',
  Local:
    'has internalTrafficPolicy: Local, so Kubernetes chooses the pod and not the sidecar; set internalTrafficPolicy to Cluster',
} as const;

/** One warning per policy and dependency: what it says of a choice that is not the sidecar's. */
function noEffectWithoutChoice(
  { base, target }: ResolvedDependency,
  policy: ResiliencePolicy,
  opaque: boolean,
): Problem[] {
  if (target === undefined || base.balancing === 'Endpoints' || base.balancing === 'Dns') return [];
  const layers = [policy.spec, ...(opaque ? [] : (policy.spec.rules ?? []))];
  const blocks = BLOCKS.filter(
    (block) =>
      COMPILERS[block].actsOnChoice &&
      !(opaque && needsCodecHere(block, policy.spec[block])) &&
      layers.some((layer) => active(layer, block) !== undefined),
  );
  const first = blocks[0];
  if (first === undefined) return [];
  const inRules = active(policy.spec, first) === undefined;
  const place = { kind: policy.kind, object: policy.metadata, field: inRules ? 'spec.rules' : `spec.${first}` };
  const { service } = target;
  const cause = service.headless ? 'Headless' : service.sessionAffinity === 'ClientIP' ? 'SessionAffinity' : 'Local';
  const why = NO_CHOICE[cause];
  return [problem('NoEffectWithoutChoice', place, { dependency: base.id, blocks, service: keyOf(service), why })];
}

/** What a policy sets of a block of which only some fields need a codec. */
function codecFieldsIn(spec: Blocks, block: BlockName): readonly string[] {
  const { needsCodec } = COMPILERS[block];
  const written: Readonly<Record<string, unknown>> = spec[block] ?? {};
  return needsCodec === 'All' ? [] : needsCodec.filter((field) => written[field]);
}

/** What it says that an opaque connection cannot follow: one warning per policy and dependency, and one for what it shadows there. */
function noEffect(dependency: ResolvedDependency, policy: ResiliencePolicy): Problem[] {
  const { spec } = policy;
  const isShadow = (block: BlockName) => spec[block]?.mode === 'Shadow';
  const isIdle = (block: BlockName) => active(spec, block) !== undefined && needsCodecHere(block, spec[block]);
  const enforced = BLOCKS.filter((block) => !isShadow(block));
  const blocks: string[] = enforced.filter(isIdle);
  for (const block of enforced)
    if (!isIdle(block)) blocks.push(...codecFieldsIn(spec, block).map((field) => `${block}.${field}`));
  if (spec.rules?.some((rule) => BLOCKS.some((block) => rule[block] !== undefined))) blocks.push('rules');
  const idleShadows = BLOCKS.filter((block) => isShadow(block) && isIdle(block));
  return [...nothingToShadow(dependency, policy, idleShadows), ...notFollowed(dependency, policy, blocks)];
}

/** What this policy says of the block does nothing on an opaque connection. */
function needsCodecHere<B extends BlockName>(block: B, written: Blocks[B]): boolean {
  const compiler: BlockCompiler<B> = COMPILERS[block];
  return compiler.needsCodec === 'All' || (written !== undefined && compiler.needsCodecAsWritten?.(written) === true);
}

function nothingToShadow(
  dependency: ResolvedDependency,
  policy: ResiliencePolicy,
  blocks: readonly string[],
): Problem[] {
  const [first] = blocks;
  if (first === undefined) return [];
  const place = { kind: policy.kind, object: policy.metadata, field: `spec.${first}` };
  const isTls = dependency.target === undefined;
  return [problem('NothingToShadow', place, { dependency: dependency.base.id, blocks, isTls })];
}

function notFollowed(dependency: ResolvedDependency, policy: ResiliencePolicy, blocks: readonly string[]): Problem[] {
  const [first] = blocks;
  if (first === undefined) return [];
  const place = { kind: policy.kind, object: policy.metadata, field: `spec.${first}` };
  if (dependency.target === undefined) {
    return [
      problem('NoEffectOnTls', place, { dependency: dependency.base.id, blocks, host: dependency.base.authority }),
    ];
  }
  const { port, service } = dependency.target;
  const says = port.appProtocol ? `appProtocol ${port.appProtocol}` : `its name ${port.name}`;
  return [
    problem('NoEffect', place, {
      dependency: dependency.base.id,
      blocks,
      protocol: `port ${port.port} of Service ${keyOf(service)} does not speak plain HTTP by ${says}`,
    }),
  ];
}
