// Installs the capture rules in this network namespace, and proves that they capture. Runs once per pod, as root with NET_ADMIN and NET_RAW,
// before any other container; everything it has to say goes to the log, and a failure ends the process with a reason a person can act on.
import { spawn } from 'node:child_process';
import { connect, createServer, type Server } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import { type CaptureSettings, type Family, findFault, isExcluded, JUMP, restoreText } from './rules.ts';

export class CaptureError extends Error {
  override name = 'CaptureError';
}

export interface FamilyResult {
  family: Family;
  /** Prefix of the tools that were used: "iptables-nft". Null: this family is not captured, and `reason` says why. */
  tool: string | null;
  reason: string;
}

/** One family of tools in one variant; which of them exist depends on the image and the kernel. */
const VARIANTS: Record<Family, readonly string[]> = {
  4: ['iptables-nft', 'iptables-legacy', 'iptables'],
  6: ['ip6tables-nft', 'ip6tables-legacy', 'ip6tables'],
};
const TOOL_TIMEOUT_MS = 15_000;

/**
 * Captures outgoing TCP of both families. Throws CaptureError where IPv4 cannot be captured; a pod without IPv6, or a kernel without its
 * nat table, is reported in the result and goes on with IPv4 alone.
 */
export async function installCapture(settings: CaptureSettings, log: Logger): Promise<FamilyResult[]> {
  const results: FamilyResult[] = [];
  for (const family of [4, 6] as const) {
    const result = await installFamily(settings, family);
    results.push(result);
    if (result.tool !== null)
      log.info({ family, tool: result.tool, port: settings.outboundPort }, 'outgoing connections are captured');
    else if (hasAddresses(family))
      log.warn({ family, reason: result.reason }, 'outgoing connections of this family are not captured');
    else log.info({ family }, 'this pod has no address of this family: nothing to capture');
  }
  const captured = results.filter((result) => result.tool !== null);
  if (captured.length === 0 || (results[0]?.tool === null && hasAddresses(4))) {
    throw new CaptureError(results.map((result) => `IPv${result.family}: ${result.reason || 'captured'}`).join('; '));
  }
  return results;
}

async function installFamily(settings: CaptureSettings, family: Family): Promise<FamilyResult> {
  const refusals: string[] = [];
  for (const tool of VARIANTS[family]) {
    const table = await run(tool, ['-w', '-t', 'nat', '-S', 'OUTPUT']);
    if (table.code !== 0) {
      if (table.code !== null) refusals.push(`${tool}: ${table.problem}`);
      continue;
    }
    const jumpIsThere = table.stdout.split('\n').includes(`-A ${JUMP}`);
    const restored = await run(`${tool}-restore`, ['-w', '--noflush'], restoreText(settings, family, jumpIsThere));
    if (restored.code !== 0) {
      refusals.push(`${tool}-restore: ${restored.problem}`);
      continue;
    }
    const saved = await run(`${tool}-save`, ['-t', 'nat']);
    const fault = saved.code === 0 ? findFault(saved.stdout, settings, family) : saved.problem;
    if (fault !== null) return { family, tool: null, reason: `${tool} did not install what it was given: ${fault}` };
    return { family, tool, reason: '' };
  }
  const reason =
    refusals.length > 0 ? refusals.join('; ') : `none of ${VARIANTS[family].join(', ')} is installed in this image`;
  return { family, tool: null, reason };
}

export type ProbeResult = 'captured' | 'not captured' | 'not probed';

/** An address of the documentation range of each family (RFC 5737, RFC 3849): nobody is there. */
const PROBE_ADDRESS: Record<Family, string> = { 4: '192.0.2.1', 6: '2001:db8::1' };
const PROBE_PORT = 9;
const PROBE_TIMEOUT_MS = 5_000;
/** Without a route the connection never reaches the rules; a pod that has none calls nobody. */
const NO_ROUTE = ['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'EACCES', 'EINVAL'];

/** Calls an address where nobody is, and sees whether the call arrives at the sidecar's port. Must not run as the sidecar's user. */
export async function probeCapture(settings: CaptureSettings, family: Family, clock: Clock): Promise<ProbeResult> {
  const address = PROBE_ADDRESS[family];
  if (isExcluded(settings, address, PROBE_PORT) || process.getuid?.() === settings.sidecarUid) return 'not probed';
  const loopback = family === 4 ? '127.0.0.1' : '::1';
  const server = await listen(settings.outboundPort, loopback);
  if (server === null) return 'not probed';
  return new Promise((resolve) => {
    const client = connect(PROBE_PORT, address);
    const finish = (result: ProbeResult) => {
      cancelTimer();
      client.destroy();
      server.close();
      resolve(result);
    };
    const cancelTimer = clock.after(PROBE_TIMEOUT_MS, () => finish('not captured'));
    server.on('connection', (accepted) => {
      accepted.on('error', () => {});
      accepted.destroy();
      finish('captured');
    });
    client.on('error', (error: NodeJS.ErrnoException) => {
      if (NO_ROUTE.includes(error.code ?? '')) finish('not probed');
      else if (error.code !== 'ECONNRESET') finish('not captured');
    });
  });
}

/** Null where the port is taken: a sidecar already listens there. */
function listen(port: number, host: string): Promise<Server | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(null));
    server.listen(port, host, () => resolve(server));
  });
}

function hasAddresses(family: Family): boolean {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return all.some(
    (address) => !address.internal && address.family === `IPv${family}` && !address.address.startsWith('fe80:'),
  );
}

interface RunResult {
  /** Null: the program could not be started. */
  code: number | null;
  stdout: string;
  /** Why it failed: what it wrote on standard error, in one line. */
  problem: string;
}

function run(program: string, parameters: readonly string[], input = ''): Promise<RunResult> {
  return new Promise((resolve) => {
    const child = spawn(program, parameters, {
      // The legacy tools take a lock in /run, which a read-only root filesystem does not let them create; nobody else is here to race with.
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', XTABLES_LOCKFILE: '/dev/null' },
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: TOOL_TIMEOUT_MS,
    });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    child.once('error', (error) => resolve({ code: null, stdout, problem: error.message }));
    child.once('close', (code, signal) => {
      const said = stderr.trim().replaceAll(/\s*\n\s*/g, ' | ');
      resolve({ code: code ?? -1, stdout, problem: said || (signal ? `ended by ${signal}` : `exit code ${code}`) });
    });
  });
}
