// The interoperability tests of gRPC, with the client and the server of grpc-go and a sidecar between them.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePorts } from '../../bench/loopback.ts';
import { Processes } from '../../bench/processes.ts';
import { until } from '../standalone/harness.ts';
import { isMissing, partPath } from './parts.ts';
import { ConformanceSidecar } from './sidecar.ts';

const CASES = [
  'empty_unary',
  'large_unary',
  'client_streaming',
  'server_streaming',
  'ping_pong',
  'empty_stream',
  'timeout_on_sleeping_server',
  'cancel_after_begin',
  'cancel_after_first_response',
  'status_code_and_message',
  'special_status_message',
  'custom_metadata',
  'unimplemented_method',
  'unimplemented_service',
  'rpc_soak',
  'channel_soak',
];

const processes = new Processes();
let sidecar: ConformanceSidecar;
let port = 0;

function client(testCase: string, to: number): Promise<unknown> {
  const soak = ['-soak_iterations=50', '-soak_max_failures=0', '-soak_per_iteration_max_acceptable_latency_ms=10000'];
  const overall = ['-soak_overall_timeout_seconds=60', '-soak_request_size=2000', '-soak_response_size=3000'];
  const target = ['-server_host=127.0.0.1', `-server_port=${to}`, `-test_case=${testCase}`];
  return promisify(execFile)(partPath('grpc-interop-client'), [...target, ...soak, ...overall], { timeout: 90_000 });
}

beforeAll(async () => {
  if (isMissing('grpc-interop-client', 'grpc-interop-server')) return;
  [port = 0] = await freePorts(1);
  processes.start(0, partPath('grpc-interop-server'), [`-port=${port}`]);
  await until(
    () =>
      client('empty_unary', port).then(
        () => true,
        () => false,
      ),
    'the server of grpc-go answers',
  );
  const policy = {
    timeouts: { request: '30s', attempt: '30s' },
    retries: { maxAttempts: 2 },
    bulkhead: { maxConcurrent: 100 },
    circuitBreaker: { consecutiveFailures: 100 },
  };
  sidecar = await ConformanceSidecar.start({ service: { ports: [port], appProtocol: 'kubernetes.io/h2c', policy } });
});

afterAll(async () => {
  await sidecar?.stop();
  await processes.endAll();
});

describe.skipIf(isMissing('grpc-interop-client', 'grpc-interop-server'))('interoperability of gRPC', () => {
  it.each(CASES)('%s', async (testCase) => {
    await expect(client(testCase, sidecar.port('service'))).resolves.toBeDefined();
    await sidecar.untilIdle();
  });
});
