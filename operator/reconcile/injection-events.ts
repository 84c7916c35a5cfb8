// Pods that admission left alone, as Events of their controller: the pod itself does not exist yet when that is decided.

import { QUIET_REASONS, type SkipReason } from '../inject/decide.ts';
import { describeLeftOut } from '../inject/loopback.ts';
import type { InjectionReport } from '../inject/webhook.ts';
import type { EventSink } from './events.ts';

/** What the injector reports to. */
export function reportInjection(events: EventSink): (report: InjectionReport) => void {
  return ({ namespace, owner, injected, reason, message, leftOut, dryRun }) => {
    if (dryRun || owner === undefined) return;
    const regarding = { ...owner, namespace };
    if (leftOut.length > 0) {
      events.record({
        regarding,
        type: 'Warning',
        reason: 'NotCaptured',
        action: 'Inject',
        note: `Of its pods, ${leftOut.map(describeLeftOut).join('; ')}`,
      });
    }
    if (injected || QUIET_REASONS.has(reason as SkipReason)) return;
    events.record({
      regarding,
      type: 'Warning',
      reason: 'NotInjected',
      action: 'Inject',
      note: `Its pods get no breakwater sidecar (${reason}): ${message}`,
    });
  };
}
