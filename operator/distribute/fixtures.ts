// Small complete values for the tests of this folder.
import type { EndpointSet } from '../../plan/endpoints.ts';
import { type DependencyPlan, PLAN_FORMAT_VERSION } from '../../plan/plan.ts';
import { NO_BLOCKS } from '../../plan/policies/blocks.ts';
import type { CircuitBreakerPlan } from '../../plan/policies/circuit-breaker.ts';
import type { OutlierDetectionPlan } from '../../plan/policies/outlier-detection.ts';
import type { CompiledWorkload, CompileResult } from '../compile/result.ts';
import type { PodIdentity } from './authenticate.ts';

export const podA: PodIdentity = { namespace: 'shop', name: 'checkout-a', uid: 'uid-a' };
export const podB: PodIdentity = { namespace: 'shop', name: 'checkout-b', uid: 'uid-b' };

const CIRCUIT: CircuitBreakerPlan = {
  stateKey: 'base',
  failureOn: ['ConnectFailure'],
  consecutiveFailures: 5,
  failureRate: null,
  slowCalls: null,
  windowMs: 10_000,
  openForMs: 30_000,
  maxOpenForMs: 300_000,
  halfOpenMaxProbes: 2,
  halfOpenSuccesses: 2,
  halfOpenProbeTimeoutMs: 5000,
  force: null,
};

const DETECTION: OutlierDetectionPlan = {
  stateKey: 'outlierDetection:base',
  failureOn: ['ConnectFailure'],
  consecutiveFailures: 5,
  consecutiveLocalOriginFailures: 0,
  successRate: null,
  intervalMs: 10_000,
  maxEjectionPercent: 50,
  ejectForMs: 30_000,
  maxEjectForMs: 300_000,
  panicThresholdPercent: 50,
};

export function dependency(name: string): DependencyPlan {
  return {
    id: `shop/checkout/${name}`,
    name,
    namespace: 'shop',
    serviceDependency: 'checkout',
    criticality: 'Required',
    enforcement: 'Enabled',
    circuitReset: '',
    service: { namespace: 'billing', name, port: 8080, ports: [8080] },
    host: null,
    authority: `${name}.billing:8080`,
    protocol: 'Http',
    destinations: [{ address: '198.19.0.7', port: 8080 }],
    balancing: 'Endpoints',
    endpointsKey: `billing/${name}:8080`,
    levels: [],
    combinations: [0],
    policies: [
      {
        rule: 'base',
        timeouts: { requestMs: 0, attemptMs: 0, connectMs: 2000, idleMs: 300_000, opaqueIdleMs: 3_600_000 },
        ...NO_BLOCKS,
        circuitBreaker: CIRCUIT,
        outlierDetection: DETECTION,
        sources: {},
      },
    ],
  };
}

export function workload(
  version: string,
  names: readonly string[],
  pods: readonly PodIdentity[],
  owner = 'checkout',
): CompiledWorkload {
  const dependencies = names.map(dependency);
  return {
    id: `shop/${owner}`,
    namespace: 'shop',
    plan: {
      formatVersion: PLAN_FORMAT_VERSION,
      namespace: 'shop',
      serviceDependencies: owner === '' ? [] : [owner],
      undeclared: 'Allow',
      dependencies,
    },
    version,
    endpointKeys: dependencies.map((one) => one.endpointsKey),
    pods: pods.map((pod) => `${pod.namespace}/${pod.name}`),
  };
}

export function endpoints(name: string, ...addresses: readonly string[]): EndpointSet {
  return { key: `billing/${name}:8080`, endpoints: addresses.map((address) => ({ address, port: 8080 })) };
}

export function result(workloads: readonly CompiledWorkload[], sets: readonly EndpointSet[] = []): CompileResult {
  return {
    workloads,
    endpointSets: new Map(sets.map((set) => [set.key, set])),
    problems: [],
    facts: { dependencies: new Map(), policies: new Map() },
  };
}
