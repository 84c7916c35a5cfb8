// What the kernel must do with the pod's outgoing connections, as the text that iptables-restore reads. PURE.
//
// A chain of our own holds everything; one jump in OUTPUT leads to it. iptables-restore --noflush empties a chain that the text declares
// and leaves all others alone, so the same text may be restored any number of times; only the jump must not be added twice.
import { BlockList, isIP } from 'node:net';

export type Family = 4 | 6;

export interface CaptureSettings {
  /** User id of the sidecar, whose own connections pass. */
  sidecarUid: number;
  /** Where captured connections are sent. */
  outboundPort: number;
  /** Null outside a cluster; a host that is a name is left out, for rules hold addresses. */
  apiServer: { host: string; port: number } | null;
  excludedPorts: readonly { from: number; to: number }[];
  /** Addresses or CIDRs of either family. */
  excludedCidrs: readonly string[];
}

export const CHAIN = 'BREAKWATER_OUTPUT';

/** The one rule outside our chain. */
export const JUMP = `OUTPUT -p tcp -j ${CHAIN}`;

/** Never captured: what does not leave the pod, and what answers only here (metadata services, neighbour discovery). */
const LOCAL: Record<Family, readonly string[]> = { 4: ['127.0.0.0/8', '169.254.0.0/16'], 6: ['::1/128', 'fe80::/10'] };

/** The rules of our chain, in the order in which the kernel reads them. */
export function captureRules(settings: CaptureSettings, family: Family): string[] {
  const pass = (match: string) => `-A ${CHAIN} ${match} -j RETURN`;
  const rules = [pass(`-m owner --uid-owner ${settings.sidecarUid}`), pass('-o lo')];
  for (const range of LOCAL[family]) rules.push(pass(`-d ${range}`));
  const api = settings.apiServer;
  if (api !== null && isIP(api.host) === family)
    rules.push(pass(`-d ${withPrefix(api.host)} -p tcp -m tcp --dport ${api.port}`));
  for (const { from, to } of settings.excludedPorts) {
    rules.push(pass(`-p tcp -m tcp --dport ${from === to ? from : `${from}:${to}`}`));
  }
  for (const cidr of settings.excludedCidrs) {
    if (familyOf(cidr) === family) rules.push(pass(`-d ${withPrefix(cidr)}`));
  }
  rules.push(`-A ${CHAIN} -p tcp -j REDIRECT --to-ports ${settings.outboundPort}`);
  return rules;
}

/** Input of iptables-restore --noflush (family 4) or ip6tables-restore --noflush (family 6). */
export function restoreText(settings: CaptureSettings, family: Family, jumpIsThere: boolean): string {
  const lines = ['*nat', `:${CHAIN} - [0:0]`, ...captureRules(settings, family)];
  if (!jumpIsThere) lines.push(`-A ${JUMP}`);
  lines.push('COMMIT', '');
  return lines.join('\n');
}

/**
 * Compares what iptables-save tells of the table with what was to be installed; returns what is wrong, or null. The tool writes matches
 * back in its own order and spelling, so rules are counted, and only the two that matter most are compared by word.
 */
export function findFault(saved: string, settings: CaptureSettings, family: Family): string | null {
  const lines = saved.split('\n').map((line) => line.replace(/^\[\d+:\d+\] /, '').trim());
  const jumps = lines.filter((line) => line === `-A ${JUMP}`).length;
  if (jumps !== 1) return `there are ${jumps} jumps from OUTPUT to ${CHAIN} instead of one`;
  const chain = lines.filter((line) => line.startsWith(`-A ${CHAIN} `));
  const wanted = captureRules(settings, family);
  if (chain.length !== wanted.length) return `${CHAIN} holds ${chain.length} rules instead of ${wanted.length}`;
  if (!chain[0]?.includes(`--uid-owner ${settings.sidecarUid} `))
    return `the first rule of ${CHAIN} does not spare the sidecar itself`;
  if (!chain.at(-1)?.includes(`-j REDIRECT --to-ports ${settings.outboundPort}`)) {
    return `the last rule of ${CHAIN} does not redirect to port ${settings.outboundPort}`;
  }
  return null;
}

/** Whether the settings spare a connection to this address and port. */
export function isExcluded(settings: CaptureSettings, address: string, port: number): boolean {
  if (settings.excludedPorts.some(({ from, to }) => from <= port && port <= to)) return true;
  return settings.excludedCidrs.some((cidr) => contains(cidr, address));
}

function contains(cidr: string, address: string): boolean {
  const family = familyOf(cidr);
  if (family !== isIP(address)) return false;
  const [network = '', prefix] = withPrefix(cidr).split('/');
  const list = new BlockList();
  list.addSubnet(network, Number(prefix), family === 4 ? 'ipv4' : 'ipv6');
  return list.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

function familyOf(cidr: string): number {
  return isIP(cidr.split('/')[0] ?? '');
}

function withPrefix(cidr: string): string {
  return cidr.includes('/') ? cidr : `${cidr}/${isIP(cidr) === 4 ? 32 : 128}`;
}
