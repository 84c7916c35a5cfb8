// Every metric of the operator that this process counts itself. The names of the first half are controller-runtime's and client-go's, so
// that dashboards made for Go operators work; a series of a fixed label is born at 0.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Seconds; the buckets of client-go's work queue. */
const QUEUE_BUCKETS = [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10];
/** Seconds; the buckets of controller-runtime's reconcile time, thinned. */
const RECONCILE_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export interface WorkQueueMetrics {
  depth: Gauge<'name'>;
  adds: Counter<'name'>;
  retries: Counter<'name'>;
  queueSeconds: Histogram<'name'>;
  workSeconds: Histogram<'name'>;
  unfinishedSeconds: Gauge<'name'>;
  longestRunningSeconds: Gauge<'name'>;
}

export interface OperatorMetrics {
  registry: Registry;
  workQueue: WorkQueueMetrics;
  reconcileTotal: Counter<'controller' | 'result'>;
  reconcileErrors: Counter<'controller'>;
  reconcileSeconds: Histogram<'controller'>;
  restClientRequests: Counter<'code' | 'method' | 'host'>;
  leader: Gauge<'name'>;
  peersListed: Gauge;
  peersConnected: Gauge;
  watchRestarts: Counter<'resource' | 'reason'>;
  watchRelists: Counter<'resource'>;
  cacheObjects: Gauge<'resource'>;
  cacheSynced: Gauge<'resource'>;
  cacheStaleSeconds: Gauge<'resource'>;
  watchFailing: Gauge<'resource'>;
  compileSeconds: Histogram;
  statusWrites: Counter<'kind' | 'result'>;
  events: Counter<'result'>;
}

function workQueueMetrics(registers: Registry[]): WorkQueueMetrics {
  const labelNames = ['name'] as const;
  return {
    depth: new Gauge({ name: 'workqueue_depth', help: 'Keys that wait in the queue', labelNames, registers }),
    adds: new Counter({ name: 'workqueue_adds_total', help: 'Keys added to the queue', labelNames, registers }),
    retries: new Counter({
      name: 'workqueue_retries_total',
      help: 'Keys added again after a failure',
      labelNames,
      registers,
    }),
    queueSeconds: new Histogram({
      name: 'workqueue_queue_duration_seconds',
      help: 'How long a key waited before it was taken',
      buckets: QUEUE_BUCKETS,
      labelNames,
      registers,
    }),
    workSeconds: new Histogram({
      name: 'workqueue_work_duration_seconds',
      help: 'How long the work on a key took',
      buckets: QUEUE_BUCKETS,
      labelNames,
      registers,
    }),
    unfinishedSeconds: new Gauge({
      name: 'workqueue_unfinished_work_seconds',
      help: 'Sum of the time that the work in progress has taken so far',
      labelNames,
      registers,
    }),
    longestRunningSeconds: new Gauge({
      name: 'workqueue_longest_running_processor_seconds',
      help: 'How long the longest work in progress has run',
      labelNames,
      registers,
    }),
  };
}

/** Everything is registered in a registry of its own, so that several operators in one process (tests) do not meet. */
export function createOperatorMetrics(): OperatorMetrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  return {
    registry,
    workQueue: workQueueMetrics(registers),
    reconcileTotal: new Counter({
      name: 'controller_runtime_reconcile_total',
      help: 'Reconciliations by result: success, error, requeue_after',
      labelNames: ['controller', 'result'],
      registers,
    }),
    reconcileErrors: new Counter({
      name: 'controller_runtime_reconcile_errors_total',
      help: 'Reconciliations that failed',
      labelNames: ['controller'],
      registers,
    }),
    reconcileSeconds: new Histogram({
      name: 'controller_runtime_reconcile_time_seconds',
      help: 'How long a reconciliation took',
      buckets: RECONCILE_BUCKETS,
      labelNames: ['controller'],
      registers,
    }),
    restClientRequests: new Counter({
      name: 'rest_client_requests_total',
      help: 'Requests to the API server by status code ("<error>" where there was no answer)',
      labelNames: ['code', 'method', 'host'],
      registers,
    }),
    leader: new Gauge({
      name: 'leader_election_master_status',
      help: '1 in the replica that leads and writes, 0 in the others; name is that of the Lease',
      labelNames: ['name'],
      registers,
    }),
    peersListed: new Gauge({
      name: 'breakwater_peers_listed',
      help: "Other replicas in the EndpointSlices of the operator's Service",
      registers,
    }),
    peersConnected: new Gauge({
      name: 'breakwater_peers_connected',
      help: 'Other replicas that this one listens to; fewer than listed for long: counts of sidecars may be too low',
      registers,
    }),
    watchRestarts: new Counter({
      name: 'breakwater_watch_restarts_total',
      help: 'Watches that ended otherwise than by their own timeout',
      labelNames: ['resource', 'reason'],
      registers,
    }),
    watchRelists: new Counter({
      name: 'breakwater_watch_lists_total',
      help: 'Complete lists, the first one included',
      labelNames: ['resource'],
      registers,
    }),
    cacheObjects: new Gauge({
      name: 'breakwater_cache_objects',
      help: 'Objects in the cache',
      labelNames: ['resource'],
      registers,
    }),
    cacheSynced: new Gauge({
      name: 'breakwater_cache_synced',
      help: '1 once the cache has held a complete list',
      labelNames: ['resource'],
      registers,
    }),
    cacheStaleSeconds: new Gauge({
      name: 'breakwater_cache_stale_seconds',
      help: 'How long ago the API server was last heard of the resource; it speaks once a minute even where nothing changes',
      labelNames: ['resource'],
      registers,
    }),
    watchFailing: new Gauge({
      name: 'breakwater_watch_failing',
      help: '1 from the first failure of a list or watch until a watch works again',
      labelNames: ['resource'],
      registers,
    }),
    compileSeconds: new Histogram({
      name: 'breakwater_compile_duration_seconds',
      help: 'How long it took to compile the world into plans',
      buckets: RECONCILE_BUCKETS,
      registers,
    }),
    statusWrites: new Counter({
      name: 'breakwater_status_writes_total',
      help: 'Writes of a status by result: success, conflict (the object was gone, or is another one by now), error',
      labelNames: ['kind', 'result'],
      registers,
    }),
    events: new Counter({
      name: 'breakwater_events_total',
      help: 'Kubernetes Events by result: created, repeated, throttled, error',
      labelNames: ['result'],
      registers,
    }),
  };
}
