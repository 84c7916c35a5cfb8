// Capture `explicit`: the sidecar listens on 127.0.0.1, at one port for each declared destination, and the application finds them in its
// environment. Nothing is redirected, so nothing that the application does not ask for changes.
import { type BootstrapEntry, type LeftOutReason } from '../../plan/bootstrap.ts';
import { isTlsPort, protocolOf } from '../compile/protocol.ts';
import { compareText, groupBy } from '../compile/world-index.ts';
import { type Declared, destinationOf, isThere, portOf } from './declared.ts';
import type { LeftOut } from './loopback.ts';

const ADDRESS = '127.0.0.1';
const LAST_PORT = 65_535;

export interface Variable {
  name: string;
  value: string;
}

export interface ExplicitContext {
  /** First port that may be taken. */
  portsFrom: number;
  /** In words; undefined: nobody. */
  userOf: (port: number) => string | undefined;
}

export interface Explicit {
  entries: readonly BootstrapEntry[];
  variables: readonly Variable[];
  leftOut: readonly LeftOut[];
  warnings: readonly string[];
}

interface Place {
  declared: Declared;
  /** Port of the destination. */
  port: number;
  /** Whether a client may speak plain HTTP there. */
  mayBeHttp: boolean;
}

export function captureByExplicit(declared: readonly Declared[], context: ExplicitContext): Explicit {
  const leftOut = new Map<string, LeftOut>();
  const places: Place[] = [];
  for (const one of declared) {
    const place = placeOf(one);
    if ('reason' in place) leftOut.set(`${place.destination} ${place.reason}`, place);
    else places.push(place);
  }
  const listen = new Map<string, number>();
  let next = context.portsFrom;
  const entries: BootstrapEntry[] = [];
  const groups = [...groupBy(places, ({ declared: one }) => destinationOf(one))].sort(([a], [b]) => compareText(a, b));
  for (const [destination, group] of groups) {
    const ports = [...new Set(group.map(({ port }) => port))].sort((a, b) => a - b);
    const taken: BootstrapEntry['ports'] = [];
    for (const port of ports) {
      while (context.userOf(next) !== undefined) next++;
      if (next > LAST_PORT) {
        const message = `no port is free from ${context.portsFrom} on; let explicit-ports-from begin lower`;
        leftOut.set(`${destination} NoRoom`, { destination, reason: 'NoRoom', message });
        break;
      }
      taken.push({ listen: next, port });
      listen.set(`${destination}:${port}`, next);
      next++;
    }
    const [first] = group;
    if (first && taken.length > 0) entries.push(entryOf(first.declared, taken));
  }
  return { entries, leftOut: [...leftOut.values()], ...variablesOf(places, listen) };
}

function placeOf(declared: Declared): Place | LeftOut {
  const { service, host } = declared;
  const leave = (reason: LeftOutReason, message: string): LeftOut => ({
    destination: destinationOf(declared),
    reason,
    message,
  });
  if (service === null) {
    const port = host?.port ?? 0;
    // Certificates are for the host's name, so an https URL with an address would be of no use.
    return { declared, port, mayBeHttp: !isTlsPort(host) };
  }
  if (!isThere(service.service)) {
    return leave('NotThere', 'the Service does not exist yet; create it, then restart the pod');
  }
  if (service.service.type === 'ExternalName') {
    return leave('ExternalName', 'the Service is an alias without address; declare what it stands for');
  }
  const port = portOf(service);
  if (port === undefined) return leave('NotThere', `the Service has no TCP port ${service.port}; correct the entry`);
  return { declared, port: port.port, mayBeHttp: protocolOf(port) !== 'Opaque' };
}

function entryOf({ service, host }: Declared, ports: BootstrapEntry['ports']): BootstrapEntry {
  return {
    address: ADDRESS,
    service: service && { namespace: service.namespace, name: service.name },
    host: host && host.name,
    clusterIPs: service?.service?.clusterIPs.slice(0, 2) ?? [],
    ports,
  };
}

/**
 * BREAKWATER_<ENTRY>_ADDRESS of every entry, and _URL where plain HTTP may be spoken. Entries of two ServiceDependencies that have one name
 * and lead to different places are told apart by the names of these.
 */
function variablesOf(
  places: readonly Place[],
  listen: ReadonlyMap<string, number>,
): Pick<Explicit, 'variables' | 'warnings'> {
  const portOfPlace = ({ declared, port }: Place) => listen.get(`${destinationOf(declared)}:${port}`);
  const byEntry = groupBy(places, ({ declared }) => declared.entry);
  const values = new Map<string, string>();
  const warnings: string[] = [];
  for (const place of places) {
    const { by, entry } = place.declared;
    const port = portOfPlace(place);
    if (port === undefined) continue;
    const namesakes = new Set((byEntry.get(entry) ?? []).map(portOfPlace));
    const base = variableName(namesakes.size > 1 ? `${by}-${entry}` : entry);
    const wanted = [
      [`${base}_ADDRESS`, `${ADDRESS}:${port}`],
      ...(place.mayBeHttp ? [[`${base}_URL`, `http://${ADDRESS}:${port}`]] : []),
    ] as const;
    for (const [name = '', value = ''] of wanted) {
      const present = values.get(name);
      if (present === undefined) values.set(name, value);
      else if (present !== value) {
        warnings.push(
          `${name} would stand for two dependencies, and stands for the first; rename entry ${entry} of ${by}`,
        );
      }
    }
  }
  const variables = [...values].map(([name, value]) => ({ name, value })).sort((a, b) => compareText(a.name, b.name));
  return { variables, warnings };
}

/** "payments-eu" → "BREAKWATER_PAYMENTS_EU". */
function variableName(text: string): string {
  return `BREAKWATER_${text.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_')}`;
}
