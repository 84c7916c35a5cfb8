import { formatDuration } from '../../../crds/duration.ts';
import { timeoutsDefaults as defaults } from '../../../crds/policies/timeouts.ts';
import type { BlockCompiler } from './block.ts';

export const timeouts: BlockCompiler<'timeouts'> = {
  // Only the connect timeout acts: a connection that cannot be made must never hold a caller for long.
  absent: { requestMs: 0, attemptMs: 0, connectMs: defaults.connect, idleMs: 0, opaqueIdleMs: 0 },
  hasState: false,
  needsCodec: ['request', 'attempt', 'deadline'],
  toPlan(block, { tell, follow }) {
    const requestMs = block.request ?? defaults.request;
    let attemptMs = block.attempt ?? requestMs;
    if (block.attempt === undefined) follow('timeouts.attempt', 'timeouts.request');
    if (requestMs > 0 && attemptMs > requestMs) {
      tell({
        reason: 'AttemptExceedsRequest',
        fields: [
          ['timeouts', 'attempt'],
          ['timeouts', 'request'],
        ],
        details: { attempt: formatDuration(attemptMs), request: formatDuration(requestMs) },
      });
      attemptMs = requestMs;
      follow('timeouts.attempt', 'timeouts.request');
    }
    return {
      requestMs,
      attemptMs,
      connectMs: block.connect ?? defaults.connect,
      idleMs: block.idle ?? defaults.idle,
      opaqueIdleMs: block.idle ?? defaults.opaqueIdle,
      deadline: block.deadline?.propagate ?? defaults.deadline.propagate,
    };
  },
  fields: {
    requestMs: 'request',
    attemptMs: 'attempt',
    connectMs: 'connect',
    idleMs: 'idle',
    opaqueIdleMs: 'idle',
    deadline: 'deadline.propagate',
  },
  aspects: { idleMs: 'HTTP streams and upgrades', opaqueIdleMs: 'opaque TCP' },
};
