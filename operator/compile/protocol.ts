// Which codec a dependency's connections get. What the Service declares wins over a guess: `appProtocol`, else the prefix of the port's
// name by the convention that Istio made common ("http", "http-admin", "grpc-api", "mysql"), else detection from the first bytes.
import type { DependencyPlan } from '../../plan/plan.ts';
import type { WorldServicePort } from './world.ts';

export type Protocol = DependencyPlan['protocol'];

// Everything inside TLS is opaque here: its bytes pass untouched. A port of gRPC or HTTP/2 may speak TLS for all that its name says, and
// grpc-web may run over HTTP/1.1 or HTTP/2, so the bytes decide. Only names whose meaning is settled are listed: a port named "kafka-rest" or "nats-monitor" speaks HTTP after all.
const KNOWN: Readonly<Record<string, Protocol>> = {
  http: 'Http',
  'http/1.1': 'Http',
  ws: 'Http',
  'kubernetes.io/ws': 'Http',
  h2c: 'Http',
  'kubernetes.io/h2c': 'Http',
  http2: 'Detect',
  grpc: 'Detect',
  'grpc-web': 'Detect',
  https: 'Opaque',
  wss: 'Opaque',
  'kubernetes.io/wss': 'Opaque',
  tls: 'Opaque',
  tcp: 'Opaque',
  mongo: 'Opaque',
  mysql: 'Opaque',
  redis: 'Opaque',
};

function lookUp(name: string): Protocol {
  return Object.hasOwn(KNOWN, name) ? (KNOWN[name] ?? 'Detect') : 'Detect';
}

/** An `appProtocol` that we do not know says that the port is not plain HTTP for certain, so it falls to detection, not to the name. */
export function protocolOf(port: Pick<WorldServicePort, 'name' | 'appProtocol'>): Protocol {
  if (port.appProtocol !== undefined && port.appProtocol !== '') return lookUp(port.appProtocol.toLowerCase());
  const name = port.name.toLowerCase();
  if (name === 'grpc-web' || name.startsWith('grpc-web-')) return lookUp('grpc-web');
  return lookUp(name.split('-', 1)[0] ?? '');
}

/** The ports of HTTPS. What is spoken there the bytes decide all the same. */
const TLS_PORTS: ReadonlySet<number> = new Set([443, 8443]);

/** Where the application is taken to speak TLS itself, so that nothing of its calls can be read. */
export const isTlsPort = (host: Pick<NonNullable<DependencyPlan['host']>, 'port' | 'tls'> | null): boolean =>
  host !== null && host.tls === undefined && TLS_PORTS.has(host.port);
