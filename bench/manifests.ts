// What our sidecar is told, in the way of users: manifests of one consumer with one dependency, under the policies of the case.

export const NAMESPACE = 'bench';
export const CONSUMER = 'load';
export const DEPENDENCY = 'service';

export interface DependencyUnderTest {
  upstreamPort: number;
  /** Name of the port of the Service, by which its protocol is told: `http`, `tcp`. */
  portName: string;
  /** Of the ResiliencePolicy, without its target; null: nobody wrote one. */
  policy: object | null;
}

/** One List, as a file of the folder that `breakwater standalone` reads. */
export function manifestsOf({ upstreamPort, portName, policy }: DependencyUnderTest): string {
  const items = [...cluster(upstreamPort, portName), ...(policy === null ? [] : [resiliencePolicy(policy)])];
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items }, null, 2);
}

const namespaced = (name: string) => ({ name, namespace: NAMESPACE });

function cluster(upstreamPort: number, portName: string): object[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: namespaced(DEPENDENCY),
      spec: { clusterIP: '10.96.0.10', ports: [{ name: portName, port: 80 }] },
    },
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...namespaced(`${DEPENDENCY}-1`), labels: { 'kubernetes.io/service-name': DEPENDENCY } },
      addressType: 'IPv4',
      ports: [{ name: portName, port: upstreamPort, protocol: 'TCP' }],
      endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
    },
    {
      apiVersion: 'breakwater.dev/v1alpha1',
      kind: 'ServiceDependency',
      metadata: namespaced(CONSUMER),
      spec: {
        consumer: { selector: { matchLabels: { app: CONSUMER } } },
        dependsOn: [{ name: DEPENDENCY, service: { name: DEPENDENCY, port: portName } }],
      },
    },
  ];
}

function resiliencePolicy(policy: object): object {
  return {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ResiliencePolicy',
    metadata: namespaced(DEPENDENCY),
    spec: {
      targetRefs: [{ group: 'breakwater.dev', kind: 'ServiceDependency', name: CONSUMER, sectionName: DEPENDENCY }],
      ...policy,
    },
  };
}

/** Every policy that acts on each request, with every way of opening a circuit, and `rules` rules that do not match; none refuses what is asked. */
export function requestPolicies(rules: number): object {
  return {
    ...POLICIES,
    outlierDetection: {},
    rateLimit: { requestsPerSecond: 1_000_000, burst: 1_000_000 },
    loadBalancing: { algorithm: 'PeakEwma' },
    rules: [...otherRules(rules - 1), CHARGE],
  };
}

const POLICIES = {
  timeouts: { request: '5s', attempt: '2s', connect: '1s', idle: '60s' },
  retries: {
    maxAttempts: 3,
    retryOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'GatewayError'],
    methods: 'Idempotent',
    backoff: { initial: '25ms', max: '250ms' },
    budget: { percent: 20, minPerSecond: 10 },
  },
  circuitBreaker: {
    failureOn: ['ConnectFailure', 'Reset', 'AttemptTimeout', 'ServerError'],
    consecutiveFailures: 5,
    failureRate: { percent: 50, minimumCalls: 20 },
    slowCalls: { percent: 80, threshold: '1s', minimumCalls: 20 },
    window: '10s',
    openFor: '30s',
  },
  bulkhead: { maxConcurrent: 1024, maxQueued: 1024, queueTimeout: '500ms' },
};

/** What acts on a connection whose bytes are no requests. */
export const CONNECTION_POLICIES = {
  timeouts: { connect: '1s', idle: '60s' },
  retries: { maxAttempts: 3, backoff: POLICIES.retries.backoff, budget: POLICIES.retries.budget },
  circuitBreaker: { ...POLICIES.circuitBreaker, failureOn: ['ConnectFailure', 'Reset'] },
  bulkhead: POLICIES.bulkhead,
  outlierDetection: {},
};

const CHARGE = {
  name: 'charge',
  matches: [{ method: 'POST', path: { type: 'PathPrefix', value: '/charges' } }],
  timeouts: { request: '10s' },
  retries: { maxAttempts: 1 },
};

/** Each with a value of its own, so that none can be taken for another, and for a path that nobody asks for. */
function otherRules(count: number): object[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `other-${index}`,
    matches: [{ method: 'GET', path: { type: 'PathPrefix', value: `/other/${index}` } }],
    timeouts: { request: `${index + 3}s` },
  }));
}
