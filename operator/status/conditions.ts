// What the status of an object of ours says: problems of the compiler and reports of the sidecars in, conditions and a line for people
// out. Pure, and a function of its arguments alone, so that nothing is written while nothing changes.
//
// Accepted, ResolvedRefs, Programmed say one thing each; Ready sums them up, since kstatus, Argo CD and Flux look at that. A condition's
// lastTransitionTime moves only when its status does.
import { type Condition, type ConditionType, condition } from '../../crds/kubernetes.ts';
import type { ResiliencePolicyStatus } from '../../crds/resilience-policy.ts';
import type { ServiceDependencyStatus } from '../../crds/service-dependency.ts';
import { circuitResetOf } from '../compile/circuit-reset.ts';
import type { CompileResult, Problem } from '../compile/result.ts';
import { describeCircuits, openCircuits } from './circuits.ts';
import { describeExclusions, excludedEndpoints } from './exclusions.ts';
import { describeOpaque, opaqueDependencies } from './opaque.ts';
import {
  type Applied,
  concernsReferences,
  problemsOf,
  type Scope,
  type SidecarReports,
  type StatusSubject,
  scopeOf,
  sumApplied,
} from './scope.ts';
import { describeShadow, summarise } from './summary.ts';
import { describeAll, list, MAX_MESSAGE, MAX_SUMMARY, NOTE, shorten } from './texts.ts';
import { reportedTls } from './tls.ts';

export type OwnStatus = ServiceDependencyStatus & ResiliencePolicyStatus;

/** Bounds of lists and texts, below those of the schema. */
const MAX_CIRCUITS = 256;
const MAX_EXCLUDED = 64;
const MAX_OPAQUE = 64;
const MAX_PODS_TOLD = 3;
/** Behind errors, which leave them as much room even where they are long. */
const MAX_NOTES = 1024;

/** `now`: RFC 3339 in UTC. */
export function statusOf(
  subject: StatusSubject,
  result: CompileResult,
  reports: SidecarReports,
  now: string,
): OwnStatus {
  const problems = [...problemsOf(result, subject), ...reportedTls(subject, reports.tls)];
  const scope = scopeOf(subject, result);
  const applied = sumApplied(scope.workloads, result, reports);
  const circuits = openCircuits(subject.kind, scope.dependencies, reports.circuits, now, false);
  const shadowCircuits = openCircuits(subject.kind, scope.dependencies, reports.circuits, now, true);
  const excluded = excludedEndpoints(subject.kind, scope.dependencies, reports.exclusions, now, false);
  const shadowExcluded = excludedEndpoints(subject.kind, scope.dependencies, reports.exclusions, now, true);
  const opaque = opaqueDependencies(subject.kind, scope.dependencies, result, reports.opaque);
  const shownOpaque = describeOpaque(opaque);
  const verdicts = verdictsOf(subject, problems, scope, applied, shownOpaque);
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
      opaque: shownOpaque,
      shadow: describeShadow(subject, shadowCircuits, shadowExcluded),
    }),
    resolved,
    programmed,
    openCircuits: shorten(shownCircuits, MAX_SUMMARY),
    circuitReset: circuitResetShown(subject),
    // Absent and not empty: a list that server-side apply empties is removed, and would differ from an empty one for ever.
    circuits: circuits.length === 0 ? undefined : circuits.slice(0, MAX_CIRCUITS),
    shadowCircuits: shadowCircuits.length === 0 ? undefined : shadowCircuits.slice(0, MAX_CIRCUITS),
    opaqueDependencies: opaque.length === 0 ? undefined : opaque.slice(0, MAX_OPAQUE),
    excludedEndpoints: excluded.length === 0 ? undefined : excluded.slice(0, MAX_EXCLUDED),
    shadowExcludedEndpoints: shadowExcluded.length === 0 ? undefined : shadowExcluded.slice(0, MAX_EXCLUDED),
  };
}

function circuitResetShown({ content }: StatusSubject): string | undefined {
  if (!('model' in content) || content.model.kind !== 'ServiceDependency') return undefined;
  return circuitResetOf(content.model) || undefined;
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
  opaque: string,
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
  const programmed = judgeProgrammed(invalid, problems, scope, applied, opaque);
  return [accepted, resolved, programmed, judgeReady([accepted, resolved, programmed]), ...stalled(invalid, accepted)];
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

/** `opaque`: where only policies of connections act, as people read it; empty: nowhere. */
function judgeProgrammed(
  invalid: boolean,
  problems: readonly Problem[],
  scope: Scope,
  applied: Applied,
  opaque: string,
): Verdict {
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
  const warnings = own.message === '' ? '' : own.message.slice(NOTE.length);
  const opaqueNote = opaque === '' ? '' : `${opaque}: only policies of connections act there (docs/tcp.md)`;
  const note = [warnings, opaqueNote].filter((part) => part !== '').join('; ');
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
