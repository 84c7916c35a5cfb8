// A world, a workload of it, a dependency and a request → what is enforced, which resource each value came from, and what has no effect.
// Pure. The plan is compiled as the operator compiles it and matched as the sidecar matches it.
import { formatDuration } from '../../crds/duration.ts';
import type { BlockName } from '../../crds/policies/blocks.ts';
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import { targetKey, targetsOf } from '../../operator/compile/attach.ts';
import { compile } from '../../operator/compile/compile.ts';
import type { CompiledDependency } from '../../operator/compile/dependencies.ts';
import {
  type ExplainedBlock,
  type ExplainedField,
  explainRow,
  layersOf,
  type Written,
} from '../../operator/compile/origins.ts';
import { COMPILERS } from '../../operator/compile/policies/blocks.ts';
import type { Reason } from '../../operator/compile/problem.ts';
import type { Problem } from '../../operator/compile/result.ts';
import { onConnections } from '../../operator/compile/routes.ts';
import { matchesSelector } from '../../operator/compile/selector.ts';
import { workloadId } from '../../operator/compile/workloads.ts';
import type { World, WorldPod } from '../../operator/compile/world.ts';
import { keyOf } from '../../operator/compile/world-index.ts';
import type { DependencyPlan, PolicyPlan, RulePlan } from '../../plan/plan.ts';
import { NO_BLOCKS } from '../../plan/policies/blocks.ts';
import { RouteTable } from '../../sidecar/route/match.ts';
import { callsOf, describeEntry, type Entry, entriesOf, isMeant } from './entries.ts';
import type {
  BlockExplanation,
  DependencyExplanation,
  Explanation,
  FieldExplanation,
  Place,
  ProblemExplanation,
  WrittenValue,
} from './explanation.ts';
import type { DependencyReference, RequestReference } from './target.ts';

/** The workload: its pods as they will be, or the ServiceDependency that was named in their place. */
export interface Subject {
  kind: string;
  namespace: string;
  name: string;
  /** Undefined for a ServiceDependency. */
  pod: WorldPod | undefined;
}

export interface Question {
  /** Its pods are those that run; what is wrong with them is told. */
  world: World;
  subject: Subject;
  /** All of them where undefined. */
  dependency: DependencyReference | undefined;
  request: RequestReference | undefined;
  assumptions: readonly Assumption[];
  /** Whether the pods of the world are all that there are; else nothing can be said of missing ones. */
  knowsPods: boolean;
}

/** What could not be seen, and what was taken for it. */
export interface Assumption {
  text: string;
  /** "namespace/name" of the Service that it is about; undefined where it is about everything. */
  service: string | undefined;
}

/** What of a question a reader of files or of a cluster answers. */
export type Seen = Pick<Question, 'world' | 'subject' | 'assumptions' | 'knowsPods'>;

/** `known`: what could have been asked for. */
export type Answer =
  | { ok: true; explanation: Explanation }
  | { ok: false; reason: 'NotSelected' | 'NoSuchDependency'; known: readonly string[] };

export function explain({ world, subject, dependency, request, assumptions, knowsPods }: Question): Answer {
  const owners = ownersOf(world, subject);
  if (owners.length === 0) {
    const inNamespace = world.serviceDependencies.filter(({ metadata }) => metadata.namespace === subject.namespace);
    return { ok: false, reason: 'NotSelected', known: inNamespace.map(({ metadata }) => metadata.name) };
  }
  const names = owners.map(({ metadata }) => metadata.name).sort();
  const problems = compile(world).problems.filter(({ reason }) => knowsPods || !ABOUT_PODS.has(reason));
  // With the pod of this workload alone there is its plan, whichever pods run now.
  const planned = compile({ ...world, pods: subject.pod === undefined ? [] : [subject.pod] });
  const plan = planned.workloads.find(({ id }) => id === workloadId(subject.namespace, names))?.plan;
  const entries = entriesOf(world, owners, plan?.dependencies ?? []);
  const wanted = dependency === undefined ? entries : entries.filter((entry) => isMeant(entry, dependency, world));
  if (wanted.length === 0) return { ok: false, reason: 'NoSuchDependency', known: entries.map(describeEntry) };
  const context = { world, problems, request, ids: dependencyIds(world) };
  return {
    ok: true,
    explanation: {
      workload: { kind: subject.kind, namespace: subject.namespace, name: subject.name, serviceDependencies: names },
      request: request === undefined ? null : { ...request, headers: [...request.headers] },
      dependencies: wanted.map((entry) => explainEntry(entry, context)),
      problems: problems.filter((problem) => isOfWorkload(problem, owners)).map(toProblem),
      assumptions: assumptions
        .filter(({ service }) => service === undefined || wanted.some((entry) => entry.service === service))
        .map(({ text }) => text),
    },
  };
}

const ABOUT_PODS: ReadonlySet<string> = new Set<Reason>(['NoPodsSelected', 'PodsNotInjected']);

function ownersOf({ serviceDependencies }: World, { namespace, name, pod }: Subject): ServiceDependency[] {
  const here = serviceDependencies.filter(({ metadata }) => metadata.namespace === namespace);
  if (pod === undefined) return here.filter(({ metadata }) => metadata.name === name);
  return here.filter(({ spec }) => matchesSelector(spec.consumer.selector, pod.labels));
}

interface Context {
  world: World;
  problems: readonly Problem[];
  request: RequestReference | undefined;
  /** Of all dependencies of the world. */
  ids: readonly string[];
}

function explainEntry(entry: Entry, context: Context): DependencyExplanation {
  const { id, name, owner, plan, compiled } = entry;
  const said = {
    id,
    name,
    serviceDependency: keyOf(owner.metadata),
    calls: callsOf(entry),
    problems: context.problems.filter((problem) => concerns(problem, entry, context)).map(toProblem),
  };
  if (plan === undefined || compiled === undefined) {
    const nothing = { policies: [], rule: null, blocks: [], onOpaque: null, rules: [] };
    return { ...said, isDeclared: false, protocol: null, switchedOffBy: [], ...nothing };
  }
  const policies = policiesIn(plan, compiled);
  const matched = matchedRules(plan, context.request);
  const row = rowOf(plan, matched);
  const layers = layersOf(policies, matched);
  const isOff = plan.enforcement === 'Disabled';
  const explained = explainRow(row, layers);
  const blocks = explained.map((block) => toBlock(block, explained, isOff, plan.protocol));
  return {
    ...said,
    isDeclared: true,
    protocol: plan.protocol,
    switchedOffBy: [...compiled.disabledBy],
    policies: compiled.policies.map((policy) => ({
      ...sourceOf(policy),
      target: targetOf(policy, entry, compiled),
      rule: layers.find((layer) => layer.policy === policy)?.rule?.name ?? null,
    })),
    rule: row.rule,
    blocks,
    onOpaque: plan.protocol === 'Detect' && !isOff ? onOpaque(plan, policies) : null,
    rules: plan.levels.flatMap((level, index) => rulesOf(plan, policies, level, index)),
  };
}

/** What connections get that are no HTTP: they match no rule. */
function onOpaque(plan: DependencyPlan, policies: readonly ResiliencePolicy[]): DependencyExplanation['onOpaque'] {
  const none = plan.levels.map(() => -1);
  const row = rowOf(plan, none);
  const enforced = explainRow(row, layersOf(policies, none)).filter(({ state }) => state === 'Enforced');
  const acts = (block: BlockName) => COMPILERS[block].needsCodec !== 'All' && onConnections(block, row[block]) !== null;
  const names = enforced.map(({ block }) => block);
  return { acting: names.filter(acts), idle: names.filter((block) => !acts(block)) };
}

/** Those whose rules the plan has: none where the connection is opaque, or the plan would be too large with them. */
function policiesIn({ levels }: DependencyPlan, { policies }: CompiledDependency): readonly ResiliencePolicy[] {
  if (levels.length === policies.length) return policies;
  return policies.map((policy) => ({ ...policy, spec: { ...policy.spec, rules: [] } }));
}

/** Of each level the position of the rule that matches, -1 where none does; as the sidecar finds it. */
export function matchedRules({ levels }: DependencyPlan, request: RequestReference | undefined): number[] {
  if (request === undefined) return levels.map(() => -1);
  return levels.map((level) => {
    const combinations = [0, ...level.map((_, index) => index + 1)];
    const table = new RouteTable({
      id: '',
      levels: [level],
      combinations,
      policies: combinations.map(() => NO_POLICY),
    });
    const fields = request.headers.map(({ name, value }) => `\r\n${name}: ${value}`).join('');
    return table.match(request.method, request.path, fields) - 1;
  });
}

const NO_POLICY: PolicyPlan = {
  rule: 'base',
  timeouts: { requestMs: 0, attemptMs: 0, connectMs: 0, idleMs: 0, opaqueIdleMs: 0 },
  ...NO_BLOCKS,
  sources: {},
};

export function rowOf({ levels, combinations, policies }: DependencyPlan, matched: readonly number[]): PolicyPlan {
  let index = 0;
  levels.forEach((level, depth) => {
    index = index * (level.length + 1) + (matched[depth] ?? -1) + 1;
  });
  const row = policies[combinations[index] ?? -1];
  if (row === undefined) throw new Error('the plan has a row for every tuple of rules');
  return row;
}

function rulesOf(
  plan: DependencyPlan,
  policies: readonly ResiliencePolicy[],
  level: readonly RulePlan[],
  depth: number,
): DependencyExplanation['rules'] {
  const none = plan.levels.map(() => -1);
  const explained = (matched: readonly number[]) => explainRow(rowOf(plan, matched), layersOf(policies, matched));
  const base = explained(none);
  const policy = policies[depth];
  return level.flatMap(({ name, matches }, position) => {
    if (policy === undefined) return [];
    const changes = explained(none.with(depth, position)).flatMap((block, index) => changesOf(block, base[index]));
    return [{ policy: sourceOf(policy), name, matches: matches.map(describeMatch), changes }];
  });
}

function changesOf(block: ExplainedBlock, before: ExplainedBlock | undefined): Change[] {
  return [
    ...fieldChanges(block.block, enforcedIn(block), enforcedIn(before)),
    ...fieldChanges(`${block.block} (shadow)`, shadowIn(block), shadowIn(before)),
  ];
}

const enforcedIn = (block: ExplainedBlock | undefined): Acting => ({
  isOn: block?.state === 'Enforced',
  fields: block?.fields ?? [],
});
const shadowIn = (block: ExplainedBlock | undefined): Acting => ({
  isOn: block?.shadow !== undefined,
  fields: block?.shadow?.fields ?? [],
});

interface Acting extends Pick<ExplainedBlock, 'fields'> {
  isOn: boolean;
}

/** Of a block that is switched on, what is no default. */
function fieldChanges(name: string, now: Acting, before: Acting): Change[] {
  const isSwitched = now.isOn !== before.isOn;
  const was = new Map(before.fields.map((field) => [nameOf(name, field), JSON.stringify(valueOf(field))]));
  const changed = now.fields
    .filter((field) => was.get(nameOf(name, field)) !== JSON.stringify(valueOf(field)))
    .filter(({ from, partOf }) => !isSwitched || from !== undefined || partOf !== undefined)
    .map((field) => ({ field: nameOf(name, field), value: valueOf(field) }));
  return isSwitched ? [{ field: name, value: now.isOn ? 'on' : 'off' }, ...changed] : changed;
}
type Change = DependencyExplanation['rules'][number]['changes'][number];

const nameOf = (block: string, { field, aspect }: { field: string; aspect: string | undefined }) =>
  `${block}.${field}${aspect === undefined ? '' : ` (${aspect})`}`;

/** "POST /charges and below with x-canary: yes" */
export function describeMatch({ method, path, headers = [] }: RulePlan['matches'][number]): string {
  const where =
    path === null ? 'any path' : path.type === 'Exact' ? `exactly ${path.value}` : `${path.value} and below`;
  const fields = headers.map(({ name, type, value }) => {
    if (type === 'Present') return `a header ${name}`;
    return `${name}: ${value}${type === 'Prefix' ? '…' : ''}`;
  });
  return `${method ?? 'any method'} ${where}${fields.length === 0 ? '' : ` with ${fields.join(' and ')}`}`;
}

function toBlock(
  block: ExplainedBlock,
  all: readonly ExplainedBlock[],
  isOff: boolean,
  protocol: DependencyPlan['protocol'],
): BlockExplanation {
  const isOpaque = protocol === 'Opaque';
  // Of an opaque connection nothing is known but that it stands and carries bytes.
  const acting = block.fields.filter((field) => !isOpaque || actsOnConnections(block.block, field));
  const { shadow } = block;
  return {
    block: block.block,
    state: isOff ? 'SwitchedOff' : block.state,
    disabledBy: block.disabledBy === undefined ? null : writtenOf(block.disabledBy, false),
    fields: isOff ? [] : toFields(acting, (one) => one.fields, all),
    shadow:
      isOff || shadow === undefined
        ? null
        : {
            by: shadow.by.map(placeOf),
            fields: toFields(shadow.fields, (one) => one.shadow?.fields ?? one.fields, all),
          },
  };
}

function actsOnConnections(block: ExplainedBlock['block'], { field, aspect }: ExplainedField): boolean {
  if (aspect !== undefined) return aspect === 'opaque TCP';
  const { needsCodec } = COMPILERS[block];
  return needsCodec !== 'All' && !needsCodec.some((name) => name === field.split('.', 1)[0]);
}

/** `fieldsOf`: which fields of a block others may follow. */
function toFields(
  fields: ExplainedBlock['fields'],
  fieldsOf: (block: ExplainedBlock) => ExplainedBlock['fields'],
  all: readonly ExplainedBlock[],
): FieldExplanation[] {
  const leaders = all.flatMap((block) => fieldsOf(block).map((one) => [`${block.block}.${one.field}`, one] as const));
  return fields.map((field): FieldExplanation => {
    const leader = leaders.find(([name]) => name === field.follows)?.[1];
    const origin = field.from ?? leader?.from;
    return {
      field: field.field,
      aspect: field.aspect ?? null,
      value: valueOf(field),
      origin: origin === undefined ? 'default' : writtenOf(origin, field.isDuration),
      partOf: field.partOf === undefined ? null : placeOf(field.partOf),
      follows: field.follows ?? null,
      overruled: field.overruled.map((one) => writtenOf(one, field.isDuration)),
    };
  });
}

function valueOf({ value, isDuration }: { value: FieldValue; isDuration: boolean }): FieldExplanation['value'] {
  if (typeof value === 'number') return isDuration ? formatDuration(value) : value;
  return typeof value === 'string' || value === null ? value : [...value];
}
type FieldValue = ExplainedBlock['fields'][number]['value'];

function sourceOf({ kind, metadata: { namespace, name, generation } }: ResiliencePolicy) {
  return { kind, namespace, name, generation };
}

function placeOf({ policy, path, rule }: Written): Place {
  return { ...sourceOf(policy), field: path, rule: rule ?? null };
}

function writtenOf(written: Written, isDuration: boolean): WrittenValue {
  const { value } = written;
  const shown = typeof value === 'number' && isDuration ? formatDuration(value) : (value as WrittenValue['value']);
  return { ...placeOf(written), value: shown };
}

/** The narrowest target of the policy by which it acts on the entry. */
function targetOf(policy: ResiliencePolicy, { owner, name }: Entry, { target }: CompiledDependency): string {
  const own = new Set(policy.spec.targetRefs.map((reference) => targetKey(policy.metadata.namespace, reference)));
  return targetsOf(owner.metadata, name, target?.service).findLast((one) => own.has(one)) ?? '';
}

function toProblem({ severity, reason, message, kind, object, field }: Problem): ProblemExplanation {
  return { severity, reason, message, object: { kind, namespace: object.namespace, name: object.name }, field };
}

function isOfWorkload({ kind, object, field }: Problem, owners: readonly ServiceDependency[]): boolean {
  const isOwner = owners.some(({ metadata }) => keyOf(metadata) === keyOf(object));
  return kind === 'ServiceDependency' && isOwner && !field.startsWith('spec.dependsOn[');
}

function dependencyIds({ serviceDependencies }: World): string[] {
  return serviceDependencies.flatMap(({ metadata, spec }) =>
    spec.dependsOn.map(({ name }) => `${keyOf(metadata)}/${name}`),
  );
}

/** Said of this entry, or of a policy that acts on it or wants to, and not of another dependency by name. */
function concerns(problem: Problem, entry: Entry, { world, ids }: Context): boolean {
  const { kind, object, field, message } = problem;
  if (kind === 'ServiceDependency') {
    return (
      keyOf(object) === keyOf(entry.owner.metadata) && (field === entry.field || field.startsWith(`${entry.field}.`))
    );
  }
  const isAboutAnother = ids.some((id) => id !== entry.id && mentions(message, id)) && !mentions(message, entry.id);
  if (isAboutAnother) return false;
  const policy = world.resiliencePolicies.find(({ metadata }) => keyOf(metadata) === keyOf(object));
  if (policy === undefined) return false;
  if (entry.compiled?.policies.some(({ metadata }) => keyOf(metadata) === keyOf(object))) return true;
  return wants(policy, entry);
}

function mentions(message: string, id: string): boolean {
  return message.split(/[\s:,;]+/).includes(id);
}

function wants(policy: ResiliencePolicy, { owner, name, compiled }: Entry): boolean {
  return policy.spec.targetRefs.some((target) => {
    if (target.kind === 'Platform') return true;
    if (target.kind === 'Namespace') return target.name === owner.metadata.namespace;
    const key = keyOf({ namespace: policy.metadata.namespace, name: target.name });
    if (target.kind === 'Service') return compiled?.target !== undefined && key === keyOf(compiled.target.service);
    return key === keyOf(owner.metadata) && (target.sectionName === undefined || target.sectionName === name);
  });
}
