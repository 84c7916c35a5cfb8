// Which ports of the pod are somebody's: what its containers declare or are probed at, what the user listed, what the sidecar listens on.
import { allContainersOf, type Container, type Pod, type Probe } from './pod.ts';
import type { Settings } from './settings.ts';

/** Numbers only: a named port of a probe is one of the container's ports. */
export function portsOf(container: Container): number[] {
  const probes: (Probe | null | undefined)[] = [
    container.livenessProbe,
    container.readinessProbe,
    container.startupProbe,
    container.lifecycle?.postStart,
    container.lifecycle?.preStop,
  ];
  const probed = probes.flatMap((probe) => [probe?.httpGet?.port, probe?.tcpSocket?.port, probe?.grpc?.port]);
  const declared = (container.ports ?? []).map((port) => port.containerPort);
  return [...declared, ...probed].filter((port): port is number => typeof port === 'number');
}

/** "5432,8000-8010" → whether it names a port. */
function listNames(list: string): (port: number) => boolean {
  const ranges = list.split(',').map((item) => {
    const [from, to = from] = item.split('-');
    return { from: Number(from), to: Number(to) };
  });
  return (port) => list !== '' && ranges.some(({ from, to }) => port >= from && port <= to);
}

/** Who uses a port, in words; undefined: nobody that is known. */
export function createPortUsers(pod: Pod, settings: Settings): (port: number) => string | undefined {
  const users = new Map<number, string>();
  for (const container of allContainersOf(pod)) {
    for (const port of portsOf(container)) if (!users.has(port)) users.set(port, `the container ${container.name}`);
  }
  for (const port of [settings.outboundPort, settings.adminPort, settings.controlPort]) users.set(port, 'the sidecar');
  const listed = listNames(settings.applicationPorts);
  return (port) => users.get(port) ?? (listed(port) ? 'the application, by its annotation' : undefined);
}
