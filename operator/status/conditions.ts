// What the status of an object of ours says: problems of the compiler and reports of the sidecars in, conditions and a line for people
// out. Pure, and a function of its arguments alone, so that nothing is written while nothing changes.
//
// Accepted, ResolvedRefs, Programmed say one thing each; Ready sums them up, since kstatus, Argo CD and Flux look at that. A condition's
// lastTransitionTime moves only when its status does.
import { type Condition, type ConditionType, condition } from '../../crds/kubernetes.ts';
import type { ResiliencePolicy, ResiliencePolicySpec, ResiliencePolicyStatus } from '../../crds/resilience-policy.ts';
import type { ServiceDependency, ServiceDependencyStatus } from '../../crds/service-dependency.ts';
import { SHADOW_BLOCKS } from '../../plan/policies/blocks.ts';
import { circuitResetOf } from '../compile/circuit-reset.ts';
import type { CompileResult, OwnKind, Problem } from '../compile/result.ts';
import type { InvalidObject } from '../compile/world.ts';
import { compareText, keyOf } from '../compile/world-index.ts';
import type { CircuitSummary } from '../distribute/acknowledgements.ts';
import type { ExclusionSummary } from '../distribute/exclusions.ts';
import { describeCircuits, type OpenCircuit, openCircuits } from './circuits.ts';
import { describeExclusions, type ExcludedEndpoints, excludedEndpoints } from './exclusions.ts';

/** The object as it stands: what was read of it, and the status it has now, unchecked. */
export interface StatusSubject {
  kind: OwnKind;
  namespace: string;
  name: string;
  generation: number;
  content: { model: ServiceDependency | ResiliencePolicy } | { invalid: InvalidObject };
  status: unknown;
}

/** What the sidecars say, over all of them. */
export interface SidecarReports {
  /** By id of the workload; none where no sidecar of it was seen. */
  applied: ReadonlyMap<
    string,
    {
      /** Sidecars that apply the present plan, of those that are connected. */
      applied: number;
      of: number;
      nacks: readonly { pod: string; message: string }[];
      /** Names of the pods that apply it. */
      appliedPods: readonly string[];
      /** Names of the pods whose local kill switch is thrown. */
      locallyDisabled: readonly string[];
    }
  >;
  circuits: readonly CircuitSummary[];
  exclusions: readonly ExclusionSummary[];
}

export type OwnStatus = ServiceDependencyStatus & ResiliencePolicyStatus;

/** Stands between what a condition says and the warnings, which decide nothing. */
export const NOTE = '; note: ';

/** Bounds of texts, below those of the schema. */
const MAX_PROBLEMS_TOLD = 8;
const MAX_PODS_TOLD = 3;
const MAX_MESSAGE = 4096;
const MAX_SUMMARY = 1024;
/** Behind errors, which leave them as much room even where they are long. */
const MAX_NOTES = 1024;
const MAX_CIRCUITS = 256;
const MAX_EXCLUDED = 64;

/** Problems of the targets of a policy are told by both conditions: it has no effect, and something it refers to is missing. */
const REFERENCE_REASONS: ReadonlySet<string> = new Set(['TargetNotFound', 'TargetInvalid', 'SectionNotFound']);

/** `now`: RFC 3339 in UTC. */
export function statusOf(
  subject: StatusSubject,
  result: CompileResult,
  reports: SidecarReports,
  now: string,
): OwnStatus {
  const problems = problemsOf(result, subject);
  const scope = scopeOf(subject, result);
  const applied = sumApplied(scope.workloads, result, reports);
  const circuits = openCircuits(subject.kind, scope.dependencies, reports.circuits, now, false);
  const shadowCircuits = openCircuits(subject.kind, scope.dependencies, reports.circuits, now, true);
  const excluded = excludedEndpoints(subject.kind, scope.dependencies, reports.exclusions, now, false);
  const shadowExcluded = excludedEndpoints(subject.kind, scope.dependencies, reports.exclusions, now, true);
  const verdicts = verdictsOf(subject, problems, scope, applied);
  const resolved = `${scope.resolved}/${scope.entries}`;
  const programmed = `${applied.appliedBy}/${applied.of}`;
  const shownCircuits = describeCircuits(circuits);
  return {
    observedGeneration: subject.generation,
    conditions: withTransitions(verdicts, previousConditions(subject.status), subject.generation, now),
    summary: summarise(subject, problems, applied, {
      resolved,
      programmed,
      circuits: shownCircuits,
      excluded: describeExclusions(excluded),
      shadow: describeShadow(subject, shadowCircuits, shadowExcluded),
    }),
    resolved,
    programmed,
    openCircuits: shorten(shownCircuits, MAX_SUMMARY),
    circuitReset: circuitResetShown(subject),
    // Absent and not empty: a list that server-side apply empties is removed, and would differ from an empty one for ever.
    circuits: circuits.length === 0 ? undefined : circuits.slice(0, MAX_CIRCUITS),
    shadowCircuits: shadowCircuits.length === 0 ? undefined : shadowCircuits.slice(0, MAX_CIRCUITS),
    excludedEndpoints: excluded.length === 0 ? undefined : excluded.slice(0, MAX_EXCLUDED),
    shadowExcludedEndpoints: shadowExcluded.length === 0 ? undefined : shadowExcluded.slice(0, MAX_EXCLUDED),
  };
}

function circuitResetShown({ content }: StatusSubject): string | undefined {
  if (!('model' in content) || content.model.kind !== 'ServiceDependency') return undefined;
  return circuitResetOf(content.model) || undefined;
}

// ---- What the object is about ----

interface Scope {
  /** Ids of the dependencies it declares or acts on. */
  dependencies: (id: string) => boolean;
  /** False where the compiler has not seen the object yet. */
  compiled: boolean;
  /** Whether it concerns any dependency at all. */
  concernsAny: boolean;
  workloads: readonly string[];
  /** Entries or targets, and how many of them exist. */
  entries: number;
  resolved: number;
}

function scopeOf(subject: StatusSubject, result: CompileResult): Scope {
  const key = keyOf(subject);
  if (!('model' in subject.content)) {
    return { dependencies: () => false, compiled: true, concernsAny: false, workloads: [], entries: 0, resolved: 0 };
  }
  const { model } = subject.content;
  if (model.kind === 'ServiceDependency') {
    const facts = result.facts.dependencies.get(key);
    const prefix = `${key}/`;
    return {
      dependencies: (id) => id.startsWith(prefix),
      compiled: facts !== undefined,
      concernsAny: (facts?.resolved ?? 0) > 0,
      workloads: facts?.workloads ?? [],
      entries: facts?.entries ?? model.spec.dependsOn.length,
      resolved: facts?.resolved ?? 0,
    };
  }
  const facts = result.facts.policies.get(key);
  const ids = new Set(facts?.dependencies);
  const missing = problemsOf(result, subject).filter((it) => REFERENCE_REASONS.has(it.reason)).length;
  const entries = model.spec.targetRefs.length;
  return {
    dependencies: (id) => ids.has(id),
    compiled: facts !== undefined,
    concernsAny: ids.size > 0,
    workloads: facts?.workloads ?? [],
    entries,
    resolved: facts === undefined ? 0 : entries - missing,
  };
}

/** One pass over all problems per result, not per object. */
const problemIndexes = new WeakMap<readonly Problem[], ReadonlyMap<string, readonly Problem[]>>();

function problemsOf(result: CompileResult, subject: StatusSubject): readonly Problem[] {
  let index = problemIndexes.get(result.problems);
  if (index === undefined) {
    index = Map.groupBy(result.problems, (it) => `${it.kind} ${keyOf(it.object)}`);
    problemIndexes.set(result.problems, index);
  }
  return index.get(`${subject.kind} ${keyOf(subject)}`) ?? [];
}

interface Applied {
  appliedBy: number;
  of: number;
  nacks: readonly string[];
  locallyDisabled: number;
  /** "namespace/name" of pods that run a sidecar which does not apply it. */
  missing: readonly string[];
}

/** Expected are the sidecars that run, whether or not they are connected: one that cannot reach the operator must be missed. */
function sumApplied(workloads: readonly string[], result: CompileResult, reports: SidecarReports): Applied {
  const sum = { appliedBy: 0, of: 0, nacks: [] as string[], locallyDisabled: 0, missing: [] as string[] };
  const running = runningSidecars(result);
  for (const id of workloads) {
    const report = reports.applied.get(id);
    const known = running.get(id) ?? [];
    sum.appliedBy += report?.applied ?? 0;
    sum.of += Math.max(report?.of ?? 0, known.length);
    sum.locallyDisabled += report?.locallyDisabled.length ?? 0;
    for (const { pod, message } of report?.nacks ?? []) {
      sum.nacks.push(pod === '*' ? message : `${pod}: ${message}`);
    }
    const applies = new Set(report?.appliedPods);
    sum.missing.push(...known.filter((pod) => !applies.has(pod.slice(pod.indexOf('/') + 1))));
  }
  return { ...sum, nacks: sum.nacks.sort(compareText), missing: sum.missing.sort(compareText) };
}

const runningByResult = new WeakMap<CompileResult, ReadonlyMap<string, readonly string[]>>();

/** By workload: "namespace/name" of the pods that run a sidecar. */
function runningSidecars(result: CompileResult): ReadonlyMap<string, readonly string[]> {
  let running = runningByResult.get(result);
  if (running === undefined) {
    running = new Map(result.workloads.map((workload) => [workload.id, workload.sidecars ?? []]));
    runningByResult.set(result, running);
  }
  return running;
}

// ---- Conditions ----

interface Verdict {
  type: ConditionType;
  status: Condition['status'];
  reason: string;
  message: string;
}

/** kstatus: what no time mends, only another spec. Where it does not hold it is not there, as kstatus wants it. */
function stalled(invalid: boolean, { reason, message }: Verdict): readonly Verdict[] {
  return invalid ? [{ type: 'Stalled', status: 'True', reason, message }] : [];
}

function verdictsOf(
  subject: StatusSubject,
  problems: readonly Problem[],
  scope: Scope,
  applied: Applied,
): readonly Verdict[] {
  const invalid = 'invalid' in subject.content;
  const accepted = judge('Accepted', problems, 'Accepted', 'valid and in effect', (it) => it.condition === 'Accepted');
  const resolved: Verdict = invalid
    ? {
        type: 'ResolvedRefs',
        status: 'Unknown',
        reason: 'Invalid',
        message: 'not looked at: the object is invalid, see condition Accepted',
      }
    : judge('ResolvedRefs', problems, 'ResolvedRefs', 'everything it refers to exists', concernsReferences);
  const programmed = judgeProgrammed(invalid, problems, scope, applied);
  return [accepted, resolved, programmed, judgeReady([accepted, resolved, programmed]), ...stalled(invalid, accepted)];
}

function concernsReferences(it: Problem): boolean {
  return it.condition === 'ResolvedRefs' || REFERENCE_REASONS.has(it.reason);
}

/** Errors decide; warnings leave the condition as it is and add what they have to say. */
function judge(
  type: ConditionType,
  problems: readonly Problem[],
  goodReason: string,
  goodMessage: string,
  belongs: (it: Problem) => boolean,
): Verdict {
  const own = problems.filter(belongs);
  const errors = own.filter((it) => it.severity === 'Error');
  const [first] = errors;
  if (first !== undefined) {
    const warnings = own.filter((it) => it.severity !== 'Error');
    const notes = warnings.length === 0 ? '' : shorten(`${NOTE}${describeAll(warnings)}`, MAX_NOTES);
    const message = `${shorten(describeAll(errors), MAX_MESSAGE - notes.length)}${notes}`;
    return { type, status: 'False', reason: first.reason, message };
  }
  const message = own.length === 0 ? goodMessage : `${goodMessage}${NOTE}${describeAll(own)}`;
  return { type, status: 'True', reason: goodReason, message };
}

function judgeProgrammed(invalid: boolean, problems: readonly Problem[], scope: Scope, applied: Applied): Verdict {
  const type = 'Programmed';
  if (invalid) {
    return {
      type,
      status: 'False',
      reason: 'Invalid',
      message: 'no sidecar applies it: the object is invalid, see condition Accepted',
    };
  }
  // A sidecar that reports is a pod: in standalone mode there are no others, on a cluster ours may be known before its pod is.
  const isOutdated = (it: Problem) => it.reason === 'NoPodsSelected' && applied.of > 0;
  const own = judge(type, problems, 'Programmed', '', (it) => it.condition === 'Programmed' && !isOutdated(it));
  if (own.status === 'False') return own;
  const note = own.message === '' ? '' : own.message.slice(NOTE.length);
  const tell = (status: Condition['status'], reason: string, message: string): Verdict => ({
    type,
    status,
    reason,
    message: shorten([message, note].filter((part) => part !== '').join(NOTE), MAX_MESSAGE),
  });
  const count = `${applied.appliedBy} of ${applied.of} sidecars`;
  if (applied.nacks.length > 0) {
    const refusals = list(applied.nacks);
    const fix = 'where it lasts, restart these pods: their sidecars may be older than the operator';
    return tell('False', 'Refused', `applied by ${count}; the others keep what they had before: ${refusals}; ${fix}`);
  }
  if (!scope.compiled)
    return tell('Unknown', 'Pending', 'not compiled yet; where it lasts, see the log of the operator');
  if (!scope.concernsAny) return tell('True', 'NothingToProgram', 'no plan has a dependency that it concerns');
  if (applied.of > 0) {
    if (applied.appliedBy >= applied.of) return tell('True', 'Programmed', `applied by ${count}`);
    const reason = applied.appliedBy === 0 ? 'Pending' : 'PartiallyProgrammed';
    return tell('False', reason, `applied by ${count}; ${missing(applied.missing)}`);
  }
  // Nothing to wait for: an object may be applied before its pods. Pods that run without a sidecar are something to wait for.
  const missed = problems.some((it) => it.reason === 'PodsNotInjected');
  return tell(missed ? 'False' : 'True', 'NoSidecars', 'no pod with a sidecar is concerned');
}

/** Who has not confirmed it, and how to find out why. */
function missing(pods: readonly string[]): string {
  const [namespace = 'NAMESPACE', name = 'POD'] = pods[0]?.split('/') ?? [];
  const more = pods.length > MAX_PODS_TOLD ? ` and ${pods.length - MAX_PODS_TOLD} more` : '';
  const who = pods.length === 0 ? 'the others' : `${pods.slice(0, MAX_PODS_TOLD).join(', ')}${more}`;
  const command = `kubectl exec -n ${namespace} ${name} -c breakwater -- breakwater status`;
  return `${who} did not confirm it yet; where it lasts, see whether the operator is reached: ${command}`;
}

function judgeReady(verdicts: readonly Verdict[]): Verdict {
  const failing = verdicts.find((it) => it.status === 'False') ?? verdicts.find((it) => it.status === 'Unknown');
  if (failing === undefined) {
    return { type: 'Ready', status: 'True', reason: 'Ready', message: 'accepted, resolved and programmed' };
  }
  const { status, reason, message, type } = failing;
  return { type: 'Ready', status, reason, message: shorten(`${type}: ${message}`, MAX_MESSAGE) };
}

function withTransitions(
  verdicts: readonly Verdict[],
  previous: readonly Condition[],
  generation: number,
  now: string,
): Condition[] {
  return verdicts.map(({ type, status, reason, message }) => {
    const before = previous.find((it) => it.type === type);
    const lastTransitionTime = before?.status === status ? before.lastTransitionTime : now;
    return { type, status, observedGeneration: generation, lastTransitionTime, reason, message };
  });
}

/** Of a status that somebody else wrote, only conditions that can be read count. */
function previousConditions(status: unknown): readonly Condition[] {
  const found = typeof status === 'object' && status !== null && 'conditions' in status ? status.conditions : undefined;
  if (!Array.isArray(found)) return [];
  return found.flatMap((it) => {
    const read = condition.safeParse(it);
    return read.success ? [read.data] : [];
  });
}

// ---- Texts ----

function summarise(
  subject: StatusSubject,
  problems: readonly Problem[],
  applied: Applied,
  shown: { resolved: string; programmed: string; circuits: string; excluded: string; shadow: string },
): string {
  const error = problems.find((it) => it.severity === 'Error');
  if ('invalid' in subject.content) return shorten(error === undefined ? 'invalid' : describe(error), MAX_SUMMARY);
  const parts: string[] = [];
  if (error !== undefined && !concernsReferences(error)) parts.push(error.reason);
  parts.push(`${shown.resolved} ${subject.kind === 'ServiceDependency' ? 'resolved' : 'targets'}`);
  parts.push(applied.of === 0 ? 'no sidecars' : `${shown.programmed} sidecars`);
  if (problems.some((it) => it.reason === 'EnforcementDisabled')) parts.push('enforcement disabled');
  if (applied.locallyDisabled > 0) parts.push(`switched off by hand in ${applied.locallyDisabled}`);
  if (shown.circuits !== '') parts.push(shown.circuits);
  if (shown.excluded !== '') parts.push(shown.excluded);
  if (shown.shadow !== '') parts.push(`shadow: ${shown.shadow}`);
  return shorten(parts.join(' · '), MAX_SUMMARY);
}

/** "circuitBreaker, bulkhead; payments would be Open in 3 of 12": what a policy shadows, and which circuits and endpoints would be out. */
function describeShadow(
  { content }: StatusSubject,
  circuits: readonly OpenCircuit[],
  excluded: readonly ExcludedEndpoints[],
): string {
  const blocks = 'model' in content && content.model.kind === 'ResiliencePolicy' ? shadowedIn(content.model.spec) : [];
  const wouldBe = [describeCircuits(circuits, ' would be'), describeExclusions(excluded, ' would be')];
  return [blocks.join(', '), ...wouldBe].filter((part) => part !== '').join('; ');
}

function shadowedIn(spec: ResiliencePolicySpec): readonly string[] {
  const places = [spec, ...(spec.rules ?? [])];
  return SHADOW_BLOCKS.filter((block) => places.some((place) => place[block]?.mode === 'Shadow'));
}

function describe({ field, message }: Problem): string {
  return field === '' ? message : `${field}: ${message}`;
}

function describeAll(problems: readonly Problem[]): string {
  return list(problems.map(describe));
}

function list(texts: readonly string[]): string {
  const told = texts.slice(0, MAX_PROBLEMS_TOLD);
  const more = texts.length - told.length;
  return shorten([...told, ...(more > 0 ? [`and ${more} more`] : [])].join('; '), MAX_MESSAGE);
}

function shorten(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`;
}
