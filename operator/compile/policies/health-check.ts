import { formatDuration } from '../../../crds/duration.ts';
import { healthCheckDefaults as defaults } from '../../../crds/policies/health-check.ts';
import type { BlockCompiler } from './block.ts';

export const healthCheck: BlockCompiler<'healthCheck'> = {
  absent: null,
  hasState: true,
  needsCodec: [],
  // What does not speak HTTP cannot be asked by it; another port of the endpoint may.
  onConnections: (numbers) => (numbers.port === null ? null : numbers),
  needsCodecAsWritten: ({ port }) => port === undefined,
  actsOnChoice: true,
  toPlan(block, { tell, follow }) {
    const intervalMs = block.interval ?? defaults.interval;
    let timeoutMs = block.timeout ?? defaults.timeout;
    if (timeoutMs > intervalMs) {
      if (block.timeout !== undefined) {
        tell({
          reason: 'CheckTimeoutExceedsInterval',
          fields: [
            ['healthCheck', 'timeout'],
            ['healthCheck', 'interval'],
          ],
          details: { timeout: formatDuration(timeoutMs), interval: formatDuration(intervalMs) },
        });
      }
      timeoutMs = intervalMs;
      follow('healthCheck.timeout', 'healthCheck.interval');
    }
    return {
      path: block.grpc === undefined ? (block.path ?? defaults.path) : null,
      host: block.host ?? null,
      port: block.port ?? null,
      intervalMs,
      timeoutMs,
      unhealthyThreshold: block.unhealthyThreshold ?? defaults.unhealthyThreshold,
      healthyThreshold: block.healthyThreshold ?? defaults.healthyThreshold,
      expectedStatuses: block.grpc === undefined ? sorted(block.expectedStatuses ?? defaults.expectedStatuses) : null,
      grpc: block.grpc === undefined ? null : { service: block.grpc.service ?? defaults.grpc.service },
    };
  },
  fields: {
    path: 'path',
    host: 'host',
    port: 'port',
    intervalMs: 'interval',
    timeoutMs: 'timeout',
    unhealthyThreshold: 'unhealthyThreshold',
    healthyThreshold: 'healthyThreshold',
    expectedStatuses: 'expectedStatuses',
    grpc: 'grpc',
  },
};

/** By where they begin, a number before a range. */
function sorted(statuses: readonly (number | string)[]): (number | string)[] {
  return [...statuses].sort((left, right) => (String(left) < String(right) ? -1 : 1));
}
