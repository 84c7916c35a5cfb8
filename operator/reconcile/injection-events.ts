// Pods that admission left alone, as Events of their controller: the pod itself does not exist yet when that is decided.

import { QUIET_REASONS, type SkipReason } from '../inject/decide.ts';
import type { InjectionReport } from '../inject/webhook.ts';
import type { EventSink } from './events.ts';

/** What the injector reports to. */
export function reportInjection(events: EventSink): (report: InjectionReport) => void {
  return ({ namespace, owner, injected, reason, message, dryRun }) => {
    if (injected || dryRun || owner === undefined || QUIET_REASONS.has(reason as SkipReason)) return;
    events.record({
      regarding: { ...owner, namespace },
      type: 'Warning',
      reason: 'NotInjected',
      action: 'Inject',
      note: `Its pods get no breakwater sidecar (${reason}): ${message}`,
    });
  };
}
