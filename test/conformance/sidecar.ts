// A whole sidecar before real servers, as `breakwater standalone` runs it: one workload with the dependencies that a test wants. Nothing is
// in between: the test is the application.

import { memoryOf } from '../../bench/procfs.ts';
import { parseMetrics, type Sample, sumOf } from '../../cli/prometheus-text.ts';
import { call, documents, LAUNCHER, Standalone, until } from '../standalone/harness.ts';

export interface Declared {
  /** Ports of its endpoints on 127.0.0.1. */
  ports: readonly number[];
  /** Of the port of its Service; the sidecar looks for itself where absent. */
  appProtocol?: 'http' | 'kubernetes.io/h2c' | 'tcp';
  /** Blocks of a ResiliencePolicy. */
  policy?: object;
}

const NAMESPACE = 'conformance';
const WORKLOAD = 'application';
/** Gauges of what is taken by requests, where there is a bulkhead, and by connections that are passed on. */
const TAKEN = ['breakwater_tunnels', 'breakwater_bulkhead_in_flight', 'breakwater_bulkhead_queued'];

export class ConformanceSidecar {
  readonly #standalone: Standalone;
  readonly #addresses: Readonly<Record<string, string>>;
  readonly admin: string;
  readonly pid: number;

  private constructor(standalone: Standalone, addresses: Readonly<Record<string, string>>, admin: string, pid: number) {
    this.#standalone = standalone;
    this.#addresses = addresses;
    this.admin = admin;
    this.pid = pid;
  }

  /** Rejects where it does not come up. To be stopped by the test. `before`: a command that runs it, such as `prlimit --nofile=1024`. */
  static async start(
    dependencies: Readonly<Record<string, Declared>>,
    before: readonly string[] = [],
    environment: Record<string, string> = {},
  ): Promise<ConformanceSidecar> {
    const standalone = new Standalone({ 'all.yaml': manifests(dependencies) }, [...before, ...LAUNCHER], environment);
    try {
      const { workloads } = await standalone.ready();
      const workload = workloads[`${NAMESPACE}/${WORKLOAD}`];
      const [pid] = standalone.sidecars();
      if (workload === undefined || pid === undefined) throw new Error(`there is no sidecar:\n${standalone.errors}`);
      return new ConformanceSidecar(standalone, workload.dependencies, workload.admin, pid);
    } catch (error) {
      await standalone.cleanUp();
      throw error;
    }
  }

  /** Where the application finds a dependency: "127.0.0.1:PORT". */
  address(name: string): string {
    const address = this.#addresses[name];
    if (address === undefined) throw new Error(`no dependency ${name}`);
    return address;
  }

  port(name: string): number {
    return Number(this.address(name).split(':').at(-1));
  }

  /** What a new plan says; it is in force some moments later. */
  declare(dependencies: Readonly<Record<string, Declared>>): void {
    this.#standalone.write('all.yaml', manifests(dependencies));
  }

  /** What all processes wrote to standard error. */
  get log(): string {
    return this.#standalone.errors;
  }

  async metrics(): Promise<Sample[]> {
    const { status, body } = await call(this.admin.replace('http://', ''), '/metrics');
    if (status !== 200) throw new Error(`the admin port answers /metrics with ${status}`);
    return parseMetrics(body);
  }

  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const wanted = Object.entries(labels);
    return sumOf(await this.metrics(), name, (its) => wanted.every(([key, value]) => its[key] === value));
  }

  /** Resident memory of the process of the sidecar, bytes. */
  get rssBytes(): number {
    return memoryOf([this.pid]).rssBytes;
  }

  /** Resolves when nothing is taken by any request or tunnel any more; rejects after some seconds. */
  async untilIdle(): Promise<void> {
    const taken = async () => {
      const samples = await this.metrics();
      return TAKEN.map((name) => `${name} ${sumOf(samples, name, () => true)}`).filter((line) => !line.endsWith(' 0'));
    };
    let left: readonly string[] = [];
    await until(
      async () => (left = await taken()).length === 0,
      () => `nothing is taken: ${left.join(', ')}`,
    );
  }

  stop(): Promise<void> {
    return this.#standalone.cleanUp();
  }
}

function manifests(dependencies: Readonly<Record<string, Declared>>): string {
  const namespaced = (name: string) => ({ name, namespace: NAMESPACE });
  const names = Object.keys(dependencies);
  const objects: object[] = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } },
    {
      apiVersion: 'breakwater.dev/v1alpha1',
      kind: 'ServiceDependency',
      metadata: namespaced(WORKLOAD),
      spec: {
        consumer: { selector: { matchLabels: { app: WORKLOAD } } },
        dependsOn: names.map((name) => ({ name, service: { name, port: 'main' } })),
      },
    },
  ];
  for (const [name, { ports, appProtocol, policy }] of Object.entries(dependencies)) {
    objects.push(
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: namespaced(name),
        // An address that leads nowhere: nothing may ever be dialled there.
        spec: {
          clusterIP: '198.51.100.7',
          ports: [{ name: 'main', port: 80, ...(appProtocol === undefined ? {} : { appProtocol }) }],
        },
      },
      ...ports.map((port, index) => ({
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { ...namespaced(`${name}-${index}`), labels: { 'kubernetes.io/service-name': name } },
        addressType: 'IPv4',
        ports: [{ name: 'main', port, protocol: 'TCP' }],
        endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
      })),
    );
    if (policy === undefined) continue;
    objects.push({
      apiVersion: 'breakwater.dev/v1alpha1',
      kind: 'ResiliencePolicy',
      metadata: namespaced(name),
      spec: {
        targetRefs: [{ group: 'breakwater.dev', kind: 'ServiceDependency', name: WORKLOAD, sectionName: name }],
        ...policy,
      },
    });
  }
  return documents(...objects.map((each) => JSON.stringify(each)));
}
