// Every metric of the data path, in one table: what docs/metrics.md says and what a scrape shows (a test keeps them equal).

export interface MetricDefinition {
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  labels: readonly string[];
}

export const SIDECAR_METRICS = {
  requests: {
    name: 'breakwater_requests_total',
    type: 'counter',
    help: 'Requests of the application, by class of the answer and by who gave it: upstream, or the breakwater-reason of a local answer, or of what a fallback took the place of.',
    labels: ['dependency', 'rule', 'code', 'reason'],
  },
  duration: {
    name: 'breakwater_request_duration_seconds',
    type: 'histogram',
    help: 'Time from the head of a request to the end of its answer, retries, waits and backoffs included; streams and upgrades left out.',
    labels: ['dependency', 'rule'],
  },
  attempts: {
    name: 'breakwater_attempts_total',
    type: 'counter',
    help: 'Attempts that reached for an endpoint, by result.',
    labels: ['dependency', 'rule', 'result'],
  },
  retries: {
    name: 'breakwater_retries_total',
    type: 'counter',
    help: 'Attempts after the first, by what the one before had failed of.',
    labels: ['dependency', 'rule', 'cause'],
  },
  retriesSuppressed: {
    name: 'breakwater_retries_suppressed_total',
    type: 'counter',
    help: 'Failures that the policy would have retried, and why they were not: attempts (maxAttempts is reached), unsafe (it may have been executed, and must not run twice), budget, body (too large to be kept), deadline (too little time is left), refused (the answer says that it is not to be asked again), retry-after (it asks for a longer wait than maxRetryAfter).',
    labels: ['dependency', 'rule', 'cause'],
  },
  deadlinesReceived: {
    name: 'breakwater_deadlines_received_total',
    type: 'counter',
    help: 'Deadlines that requests of the application came with, by effect: shortened, later (our own is sooner), stale (it passed long before: a copy of another call), invalid.',
    labels: ['dependency', 'rule', 'effect'],
  },
  fallbacks: {
    name: 'breakwater_fallbacks_total',
    type: 'counter',
    help: 'Fallbacks that took the place of a failure, by what they gave (response, last-good, dependency) and by the breakwater-reason of the failure; server-error and too-many-requests: an answer of the dependency.',
    labels: ['dependency', 'rule', 'fallback', 'reason'],
  },
  fallbacksMissed: {
    name: 'breakwater_fallbacks_missed_total',
    type: 'counter',
    help: 'Failures that a fallback was to take the place of, and it had nothing: no answer kept, no time left, or a body that was not kept.',
    labels: ['dependency', 'rule', 'fallback'],
  },
  lastGoodAnswers: {
    name: 'breakwater_last_good_answers',
    type: 'gauge',
    help: 'Answers that are kept to be given while the dependency fails.',
    labels: ['dependency', 'fallback'],
  },
  lastGoodBytes: {
    name: 'breakwater_last_good_bytes',
    type: 'gauge',
    help: 'Memory that these answers take.',
    labels: ['dependency', 'fallback'],
  },
  faults: {
    name: 'breakwater_faults_injected_total',
    type: 'counter',
    help: 'Requests that were chosen for a fault on purpose: delay, abort.',
    labels: ['dependency', 'rule', 'fault'],
  },
  circuitState: {
    name: 'breakwater_circuit_state',
    type: 'gauge',
    help: 'One for the present state of each circuit, zero for the others.',
    labels: ['dependency', 'circuit', 'state'],
  },
  circuitTransitions: {
    name: 'breakwater_circuit_transitions_total',
    type: 'counter',
    help: 'Changes of state of each circuit.',
    labels: ['dependency', 'circuit', 'to'],
  },
  circuitResets: {
    name: 'breakwater_circuit_resets_total',
    type: 'counter',
    help: 'Resets of the circuits of a dependency, by new values of the annotation breakwater.dev/reset-circuit.',
    labels: ['dependency'],
  },
  bulkheadInFlight: {
    name: 'breakwater_bulkhead_in_flight',
    type: 'gauge',
    help: 'Requests that hold a place of the bulkhead.',
    labels: ['dependency', 'bulkhead'],
  },
  bulkheadQueued: {
    name: 'breakwater_bulkhead_queued',
    type: 'gauge',
    help: 'Requests that wait for a place of the bulkhead.',
    labels: ['dependency', 'bulkhead'],
  },
  ejections: {
    name: 'breakwater_outlier_ejections_total',
    type: 'counter',
    help: 'Endpoints that outlier detection ejected, by cause: consecutive-failures, consecutive-local-origin-failures, success-rate.',
    labels: ['dependency', 'detection', 'cause'],
  },
  ejectionsWithheld: {
    name: 'breakwater_outlier_ejections_withheld_total',
    type: 'counter',
    help: 'Endpoints that outlier detection left in although they were to be ejected, because as many were out as may be.',
    labels: ['dependency', 'detection', 'cause'],
  },
  ejectedEndpoints: {
    name: 'breakwater_outlier_ejected_endpoints',
    type: 'gauge',
    help: 'Endpoints that are ejected.',
    labels: ['dependency', 'detection'],
  },
  panic: {
    name: 'breakwater_endpoints_panic',
    type: 'gauge',
    help: 'One while all endpoints are used, ejected ones included, because too few others are left.',
    labels: ['dependency', 'choice'],
  },
  panics: {
    name: 'breakwater_endpoints_panics_total',
    type: 'counter',
    help: 'How often that began.',
    labels: ['dependency', 'choice'],
  },
  bulkheadLimit: {
    name: 'breakwater_bulkhead_limit',
    type: 'gauge',
    help: 'Requests that may hold a place of the bulkhead: maxConcurrent, or what its adaptive limit is at the moment.',
    labels: ['dependency', 'bulkhead'],
  },
  bulkheadLatency: {
    name: 'breakwater_bulkhead_latency_seconds',
    type: 'gauge',
    help: 'What an adaptive limit goes by: the latency without load that it knows (`baseline`), and that of the last calls (`median`); zero before the first.',
    labels: ['dependency', 'bulkhead', 'of'],
  },
  rateLimitValues: {
    name: 'breakwater_rate_limit_values',
    type: 'gauge',
    help: 'Values of the header that have a rate limit of their own; zero where the limit is one for all requests.',
    labels: ['dependency', 'limit'],
  },
  rateLimitShared: {
    name: 'breakwater_rate_limit_shared_total',
    type: 'counter',
    help: 'Requests whose header had a value for which there was no room, so that they shared one rate limit with all others like that: raise perHeader.maxValues, or look who invents values.',
    labels: ['dependency', 'limit'],
  },
  endpoints: {
    name: 'breakwater_endpoints',
    type: 'gauge',
    help: 'Known endpoints of the dependency; -1 while they are unknown.',
    labels: ['dependency'],
  },
  fallback: {
    name: 'breakwater_cluster_ip_fallback',
    type: 'gauge',
    help: 'One while new connections of the dependency go to its ClusterIP because the endpoints cannot be trusted.',
    labels: ['dependency'],
  },
  enforcement: {
    name: 'breakwater_enforcement',
    type: 'gauge',
    help: 'One while policies act on the dependency, zero while a kill switch is thrown.',
    labels: ['dependency'],
  },
  connects: {
    name: 'breakwater_upstream_connects_total',
    type: 'counter',
    help: 'Connections opened to the dependency, by result.',
    labels: ['dependency', 'result'],
  },
  tunnels: {
    name: 'breakwater_tunnels_total',
    type: 'counter',
    help: 'Connections forwarded untouched, by why: undeclared, opaque, h2c, disabled, upgrade, no-plan.',
    labels: ['cause'],
  },
  tunnelDialFailures: {
    name: 'breakwater_tunnel_dial_failures_total',
    type: 'counter',
    help: 'Connections whose real destination could not be reached after the application had been accepted: it saw a reset instead of a refusal.',
    labels: [],
  },
  undeclared: {
    name: 'breakwater_undeclared_connections_total',
    type: 'counter',
    help: 'Captured connections to destinations that nobody declared, by what was done: allowed, warned (passed on, and named in the log), denied. Only capture `iptables` sees them.',
    labels: ['action'],
  },
  bypassed: {
    name: 'breakwater_bypassed_connections_total',
    type: 'counter',
    help: 'Connections of the pod that were made straight to the ClusterIP of a declared Service and so past the sidecar (capture `loopback` and `explicit`). A lower bound: they are counted by looking every 10 s at what is open.',
    labels: ['dependency'],
  },
  dnsResolutions: {
    name: 'breakwater_dns_resolutions_total',
    type: 'counter',
    help: 'Names that DNS was asked for, by result: addresses, no-address (there is none), failure (no answer).',
    labels: ['result'],
  },
  selfReferences: {
    name: 'breakwater_self_references_total',
    type: 'counter',
    help: 'Answers of DNS that led back to the sidecar itself and were not used.',
    labels: ['dependency'],
  },
  shedRequests: {
    name: 'breakwater_shed_requests_total',
    type: 'counter',
    help: 'Requests answered 503 `shed` because the sidecar itself is at its limits, by which: memory, event-loop.',
    labels: ['reason'],
  },
  shedConnections: {
    name: 'breakwater_shed_connections_total',
    type: 'counter',
    help: 'Connections of the application that were reset because the memory of the sidecar is used up.',
    labels: [],
  },
  loadShedLevel: {
    name: 'breakwater_load_shed_level',
    type: 'gauge',
    help: 'What is done because memory is used up: 0 nothing, 1 connections are not kept, 2 requests are refused, 3 connections are refused.',
    labels: [],
  },
  loadShedShare: {
    name: 'breakwater_load_shed_share',
    type: 'gauge',
    help: 'Share of the requests that is refused because the event loop is late, from 0 to 0.95.',
    labels: [],
  },
  memoryShare: {
    name: 'breakwater_memory_share',
    type: 'gauge',
    help: 'Share of the memory limit of the container in use, without pages of files; 0 where there is no limit or it cannot be read.',
    labels: [],
  },
  eventLoopDelay: {
    name: 'breakwater_event_loop_delay_seconds',
    type: 'gauge',
    help: 'How long what becomes ready waits for the event loop: the mean length of its rounds at the last look.',
    labels: [],
  },
  failedListeners: {
    name: 'breakwater_failed_listeners',
    type: 'gauge',
    help: 'Ports that the sidecar was to listen on (capture `loopback` and `explicit`) and could not.',
    labels: [],
  },
  tunnelsActive: {
    name: 'breakwater_tunnels',
    type: 'gauge',
    help: 'Connections that are being forwarded untouched.',
    labels: [],
  },
  clientConnections: {
    name: 'breakwater_client_connections',
    type: 'gauge',
    help: 'Open connections of the application that speak HTTP to declared dependencies.',
    labels: [],
  },
} as const satisfies Record<string, MetricDefinition>;
