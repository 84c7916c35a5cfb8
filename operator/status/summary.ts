// The one line of a status that people read first. Pure.
import type { ResiliencePolicySpec } from '../../crds/resilience-policy.ts';
import { SHADOW_BLOCKS } from '../../plan/policies/blocks.ts';
import type { Problem } from '../compile/result.ts';
import { describeCircuits, type OpenCircuit } from './circuits.ts';
import { describeExclusions, type ExcludedEndpoints } from './exclusions.ts';
import { type Applied, concernsReferences, type StatusSubject } from './scope.ts';
import { describe, MAX_SUMMARY, shorten } from './texts.ts';

// ---- Texts ----

export function summarise(
  subject: StatusSubject,
  problems: readonly Problem[],
  applied: Applied,
  shown: {
    resolved: string;
    programmed: string;
    circuits: string;
    excluded: string;
    opaque: string;
    shadow: string;
  },
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
  if (shown.opaque !== '') parts.push(shown.opaque);
  if (shown.shadow !== '') parts.push(`shadow: ${shown.shadow}`);
  return shorten(parts.join(' · '), MAX_SUMMARY);
}

/** "circuitBreaker, bulkhead; payments would be Open in 3 of 12": what a policy shadows, and which circuits and endpoints would be out. */
export function describeShadow(
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
