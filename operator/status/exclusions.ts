// The endpoints that get no calls, as a status tells them: one entry for each dependency, rule and block, summed over sidecars.
import type { ServiceDependencyStatus } from '../../crds/service-dependency.ts';
import { blockOfKey, isShadowKey, withoutShadow } from '../../plan/policies/state-key.ts';
import type { OwnKind } from '../compile/result.ts';
import { compareText } from '../compile/world-index.ts';
import type { ExclusionSummary } from '../distribute/exclusions.ts';
import { entryOf, names, timestamp } from './circuits.ts';

export type ExcludedEndpoints = NonNullable<ServiceDependencyStatus['excludedEndpoints']>[number];

/** By the block that takes them out. */
const STATES = { outlierDetection: 'Ejected', healthCheck: 'Unhealthy' } as const;

/** By dependency, rule and state. `isShadow`: those that only would be out. */
export function excludedEndpoints(
  kind: OwnKind,
  concerns: (dependencyId: string) => boolean,
  summaries: readonly ExclusionSummary[],
  now: string,
  isShadow: boolean,
): ExcludedEndpoints[] {
  const nowUnixMs = Date.parse(now);
  const concerned = summaries.filter((it) => isShadowKey(it.stateKey) === isShadow && concerns(it.dependencyId));
  const entries = (['outlierDetection', 'healthCheck'] as const).flatMap((block) => {
    const own = concerned.filter(({ stateKey }) => blockOfKey(withoutShadow(stateKey)) === block);
    const nameOf = names(kind, own);
    return own.map((it) => ({ ...nameOf(it), state: STATES[block], ...detailsOf(it, nowUnixMs) }));
  });
  const order = ({ dependency, rule, state }: ExcludedEndpoints) => [dependency, rule, state].join('\u0000');
  return entries.sort((a, b) => compareText(order(a), order(b)));
}

function detailsOf(
  summary: ExclusionSummary,
  nowUnixMs: number,
): Omit<ExcludedEndpoints, 'dependency' | 'rule' | 'state'> {
  const { endpoints, totalEndpoints, sidecars, totalSidecars, panickingSidecars } = summary;
  return {
    endpoints,
    totalEndpoints,
    sidecars,
    totalSidecars: Math.max(sidecars, totalSidecars),
    panickingSidecars: panickingSidecars === 0 ? undefined : panickingSidecars,
    since: timestamp(summary.sinceUnixMs, nowUnixMs),
    names: summary.names.length === 0 ? undefined : [...summary.names],
  };
}

/** "payments 2 of 5 endpoints Ejected in 3 of 12 (all used in 1)"; `verb`: what stands before the state. */
export function describeExclusions(excluded: readonly ExcludedEndpoints[], verb: '' | ' would be' = ''): string {
  return excluded
    .map(({ dependency, rule, state, endpoints, totalEndpoints, sidecars, totalSidecars, panickingSidecars }) => {
      const whose = `${entryOf(dependency)}${rule === 'base' ? '' : ` (${rule})`}`;
      const panic = panickingSidecars === undefined ? '' : ` (all used in ${panickingSidecars})`;
      return `${whose} ${endpoints} of ${totalEndpoints} endpoints${verb} ${state} in ${sidecars} of ${totalSidecars}${panic}`;
    })
    .join(', ');
}
