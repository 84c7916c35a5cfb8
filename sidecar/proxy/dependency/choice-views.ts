// What is left of the endpoints to choose from, as status shows it.
import type { Clock } from '../../../runtime/clock.ts';
import type { ChoiceView, EjectionView } from '../../data-plane.ts';
import type { OutlierDetection } from '../../policies/outlier-detection.ts';
import type { DependencyRuntime } from './dependency.ts';
import type { EndpointChoice, HealthEntry } from './endpoint-choice.ts';

/** A choice, and what of that which narrows it is told. */
interface NarrowedChoice {
  choice: EndpointChoice;
  detection: OutlierDetection | null;
  health: HealthEntry | null;
}

export function choiceViews(dependencies: Iterable<DependencyRuntime>, clock: Clock): ChoiceView[] {
  const views: ChoiceView[] = [];
  for (const dependency of dependencies) {
    const { choices, shadows } = dependency.policies;
    for (const choice of choices.values())
      if (choice.detection !== null || choice.health !== null)
        views.push(viewOf(dependency, { choice, detection: choice.detection, health: choice.health }, clock));
    for (const narrowed of shadows.narrowedChoices) views.push(viewOf(dependency, narrowed, clock));
  }
  return views;
}

function viewOf(
  { plan, endpoints, enforced }: DependencyRuntime,
  { choice, detection, health }: NarrowedChoice,
  clock: Clock,
): ChoiceView {
  const startedUnixMs = clock.unixMs() - clock.monotonicMs();
  return {
    dependency: plan.id,
    choice: choice.key,
    endpoints: endpoints.live.length,
    pickable: choice.pickable.length,
    maxEjected: detection?.limit ?? 0,
    panicking: choice.panicking,
    ejected: ejectionsOf(detection, startedUnixMs),
    unhealthy: (health?.checks.unhealthy ?? []).map(({ name, problem, sinceMs }) => ({
      endpoint: name,
      problem,
      sinceUnixMs: Math.round(startedUnixMs + sinceMs),
    })),
    enforced,
  };
}

function ejectionsOf(detection: OutlierDetection | null, startedUnixMs: number): EjectionView[] {
  if (detection === null) return [];
  return Array.from(detection.ejected, (member) => ({
    endpoint: member.name,
    reason: member.reason,
    sinceUnixMs: Math.round(startedUnixMs + member.ejectedAtMs),
    untilUnixMs: Math.round(startedUnixMs + detection.untilMs(member)),
    times: member.timesEjected,
  }));
}
