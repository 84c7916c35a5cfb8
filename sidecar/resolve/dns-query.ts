// Asks DNS, and DNS alone: under capture `loopback` the hosts file of the pod leads back to this sidecar.
import { Resolver } from 'node:dns/promises';
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { combineFamilies, type Family, reachableFamilies } from './combine.ts';
import type { DnsAnswer } from './name-state.ts';
import { queryNames, type ResolvConf, readResolvConf } from './resolv-conf.ts';

/** Asks for all addresses of a name; never rejects. `nothingKnown`: any address is better than none. */
export type DnsQuery = (name: string, nothingKnown: boolean) => Promise<DnsAnswer>;

export interface DnsQueryOptions {
  /** "10.96.0.10" or "127.0.0.1:5353"; empty: those of /etc/resolv.conf. */
  servers: readonly string[];
  /** Address of this pod, whose family is preferred; empty where it is not known. */
  podIp: string;
  /** Where search list and ndots stand; /etc/resolv.conf unless a test says otherwise. */
  resolvConf?: string;
  /** Addresses of this pod by interface; those that the kernel names unless a test says otherwise. */
  interfaces?: () => NodeJS.Dict<readonly { address: string; internal: boolean }[]>;
  clock: Clock;
  log: Logger;
}

const RESOLV_CONF = '/etc/resolv.conf';
const QUERY_TIMEOUT_MS = 1_500;
const QUERY_TRIES = 2;
/** Of a name with all its completions, whatever the servers do. */
const WHOLE_TIMEOUT_MS = 10_000;

export function createDnsQuery(options: DnsQueryOptions): DnsQuery {
  const resolver = new Resolver({ timeout: QUERY_TIMEOUT_MS, tries: QUERY_TRIES });
  if (options.servers.length > 0) resolver.setServers(options.servers);
  const conf = resolvConf(options.resolvConf ?? RESOLV_CONF, options.log);
  const interfaces = options.interfaces ?? networkInterfaces;
  /** Of the last time that the kernel named any. */
  let families = reachableFamilies([{ address: options.podIp, internal: false }], options.podIp);
  const look = () => {
    try {
      families = reachableFamilies(
        Object.values(interfaces()).flatMap((each) => each ?? []),
        options.podIp,
      );
    } catch {
      // It takes a file to ask the kernel: a process that has none left goes on with what it knew.
    }
    return families;
  };
  return (name, nothingKnown) =>
    within(askInTurn(resolver, queryNames(name, conf), look(), nothingKnown), options.clock);
}

/**
 * The first name that has addresses counts. A server that answers with an error for one completion (of a domain that it cannot reach, say)
 * does not keep the others from being asked for, as in glibc; but then nobody knows that the name has no address.
 */
async function askInTurn(
  resolver: Resolver,
  names: readonly string[],
  families: readonly Family[],
  nothingKnown: boolean,
): Promise<DnsAnswer> {
  let last: DnsAnswer = { kind: 'no-address', detail: 'it is not a name that DNS could know' };
  let failure: DnsAnswer | null = null;
  for (const name of names) {
    const [preferred = last, other = null] = await Promise.all(families.map((family) => ask(resolver, name, family)));
    last = combineFamilies(preferred, other, nothingKnown);
    if (last.kind === 'addresses' || (last.kind === 'failure' && last.silent)) return last;
    if (last.kind === 'failure') failure ??= last;
  }
  return failure ?? last;
}

async function ask(resolver: Resolver, name: string, family: Family): Promise<DnsAnswer> {
  try {
    const records =
      family === 4 ? await resolver.resolve4(name, { ttl: true }) : await resolver.resolve6(name, { ttl: true });
    if (records.length === 0) return { kind: 'no-address', detail: `${name} has no address` };
    const ttlMs = Math.min(...records.map(({ ttl }) => ttl)) * 1000;
    return { kind: 'addresses', addresses: records.map(({ address }) => address), ttlMs };
  } catch (error) {
    return answerOf(name, error as NodeJS.ErrnoException);
  }
}

function answerOf(name: string, { code = '', message }: NodeJS.ErrnoException): DnsAnswer {
  switch (code) {
    case 'ENOTFOUND':
      return { kind: 'no-address', detail: `${name} does not exist` };
    case 'ENODATA':
      return { kind: 'no-address', detail: `${name} has no address` };
    case 'EBADNAME':
      return { kind: 'no-address', detail: `${name} is not a name that DNS could know` };
    case 'ESERVFAIL':
    case 'EREFUSED':
    case 'EFORMERR':
    case 'ENOTIMP':
      return { kind: 'failure', detail: `DNS did not answer for ${name}: ${code}` };
    default:
      return { kind: 'failure', silent: true, detail: `DNS did not answer for ${name}: ${code || message}` };
  }
}

function within(answer: Promise<DnsAnswer>, clock: Clock): Promise<DnsAnswer> {
  return new Promise((resolve) => {
    const detail = `DNS did not answer within ${WHOLE_TIMEOUT_MS / 1000} s`;
    const cancel = clock.after(WHOLE_TIMEOUT_MS, () => resolve({ kind: 'failure', detail }));
    void answer.then(resolve).finally(cancel);
  });
}

function resolvConf(path: string, log: Logger): ResolvConf {
  try {
    return readResolvConf(readFileSync(path, 'utf8'));
  } catch (error) {
    log.info({ err: error }, 'there is no /etc/resolv.conf to read: names are asked for as they stand');
    return { search: [], ndots: 1 };
  }
}
