// What `breakwater status` prints.
import { isShadowKey } from '../../plan/policies/state-key.ts';
import type { Readiness } from '../admin/readiness.ts';
import type { AdaptiveLimitView, CaptureView, ChoiceView, CircuitView, LoadView, TlsView } from '../data-plane.ts';
import type { SubscriptionStatus } from '../subscribe/subscriber.ts';
import { sentenceOf } from '../tls/failures.ts';

export interface StatusFacts extends SubscriptionStatus, Readiness {
  locallyDisabled: boolean;
  circuits: readonly CircuitView[];
  choices: readonly ChoiceView[];
  adaptiveLimits: readonly AdaptiveLimitView[];
  load: LoadView;
  tls: readonly TlsView[];
  capture: CaptureView;
  /** Connections past the sidecar, by name of the dependency. */
  bypassed: Readonly<Record<string, number>>;
}

/** Lines for people; `nowUnixMs` only to say how long a state has lasted. */
export function statusLines(facts: StatusFacts, nowUnixMs: number): string[] {
  const lines = [
    `policies:  ${facts.locallyDisabled ? 'DISABLED in this sidecar (`breakwater enable` ends it)' : 'enabled'}`,
    `readiness: ${facts.ready ? 'ready' : 'not ready'}: ${facts.reason}`,
    `plan:      ${describe(facts.planVersion, facts.planStreamUp)}`,
    `endpoints: ${describe(facts.endpointsVersion, facts.endpointsStreamUp)}${
      facts.endpointsVersion !== null && !facts.endpointsConfirmed ? ', from disk and not confirmed yet' : ''
    }`,
  ];
  lines.push(...captureLines(facts), ...tlsLines(facts.tls));
  const shadowed = facts.circuits.filter(({ stateKey }) => isShadowKey(stateKey));
  const enforced = facts.circuits.filter(({ stateKey }) => !isShadowKey(stateKey));
  lines.push(`circuits:  ${notClosed(enforced).length} of ${enforced.length} not closed`);
  lines.push(...circuitLines(enforced, nowUnixMs));
  if (shadowed.length > 0) {
    lines.push(`shadow:    ${notClosed(shadowed).length} of ${shadowed.length} circuits would not be closed`);
    lines.push(...circuitLines(shadowed, nowUnixMs));
  }
  const isShadow = ({ choice }: ChoiceView) => isShadowKey(choice);
  lines.push(
    ...choiceLines(
      facts.choices.filter((it) => !isShadow(it)),
      nowUnixMs,
    ),
  );
  lines.push(...shadowChoiceLines(facts.choices.filter(isShadow), nowUnixMs));
  lines.push(...limitLines(facts.adaptiveLimits), ...loadLines(facts.load));
  return lines;
}

/** Nothing where no policy narrows the choice of an endpoint. */
function choiceLines(choices: readonly ChoiceView[], nowUnixMs: number): string[] {
  if (choices.length === 0) return [];
  const ejections = choices.reduce((sum, { ejected }) => sum + ejected.length, 0);
  const failing = choices.reduce((sum, { unhealthy }) => sum + unhealthy.length, 0);
  const lines = [`out:       ${ejections} endpoints ejected, ${failing} unhealthy`];
  for (const { dependency, choice, endpoints, panicking, ejected, unhealthy } of choices) {
    const whose = `  ${dependency} (${choice}):`;
    for (const { endpoint, reason, sinceUnixMs, untilUnixMs } of ejected)
      lines.push(
        `${whose} ${endpoint} ejected for ${seconds(nowUnixMs - sinceUnixMs)} s: ${reason}; back in ${seconds(untilUnixMs - nowUnixMs)} s`,
      );
    for (const { endpoint, problem, sinceUnixMs } of unhealthy)
      lines.push(`${whose} ${endpoint} unhealthy for ${seconds(nowUnixMs - sinceUnixMs)} s: ${problem}`);
    if (panicking)
      lines.push(`${whose} PANIC, all ${endpoints} endpoints are used: too few are left without those that are out`);
  }
  return lines;
}

/** Nothing where neither ejection nor health checks are shadowed. */
function shadowChoiceLines(choices: readonly ChoiceView[], nowUnixMs: number): string[] {
  if (choices.length === 0) return [];
  const ejections = choices.reduce((sum, { ejected }) => sum + ejected.length, 0);
  const failing = choices.reduce((sum, { unhealthy }) => sum + unhealthy.length, 0);
  const lines = [`shadow:    ${ejections} endpoints would be ejected, ${failing} unhealthy`];
  for (const { dependency, choice, ejected, unhealthy } of choices) {
    const whose = `  ${dependency} (${choice}):`;
    for (const { endpoint, reason, sinceUnixMs } of ejected)
      lines.push(`${whose} ${endpoint} ejected for ${seconds(nowUnixMs - sinceUnixMs)} s: ${reason}`);
    for (const { endpoint, problem, sinceUnixMs } of unhealthy)
      lines.push(`${whose} ${endpoint} unhealthy for ${seconds(nowUnixMs - sinceUnixMs)} s: ${problem}`);
  }
  return lines;
}

/** Nothing where all limits are fixed. */
function limitLines(limits: readonly AdaptiveLimitView[]): string[] {
  return limits.flatMap(
    ({ dependency, stateKey, limit, maxConcurrent, inFlight, queued, baselineMs, medianMs }, index) => {
      const latency =
        baselineMs === 0
          ? 'latency not known yet'
          : `latency ${milliseconds(medianMs)}, ${milliseconds(baselineMs)} without load`;
      return [
        ...(index === 0 ? ['limits:'] : []),
        `  ${dependency} (${stateKey}): ${limit} of at most ${maxConcurrent} at a time, ${inFlight} now, ${queued} waiting; ${latency}`,
      ];
    },
  );
}

const SHEDS: Readonly<Record<LoadView['level'], string>> = {
  none: '',
  'no-keep-alive': 'connections are not kept',
  requests: 'requests are REFUSED',
  connections: 'requests and connections are REFUSED',
};

/** Nothing while the sidecar is well. */
function loadLines({ level, share, memoryShare, loopDelayMs }: LoadView): string[] {
  const lines: string[] = [];
  if (level !== 'none') lines.push(`load:      memory ${percent(memoryShare)} of its limit, so that ${SHEDS[level]}`);
  if (share > 0)
    lines.push(
      `load:      a round of the event loop takes ${milliseconds(loopDelayMs)}, so that ${percent(share)} of the requests are REFUSED`,
    );
  return lines;
}

function notClosed(circuits: readonly CircuitView[]): readonly CircuitView[] {
  return circuits.filter(({ state }) => state !== 'Closed');
}

function circuitLines(circuits: readonly CircuitView[], nowUnixMs: number): string[] {
  return notClosed(circuits).map(({ dependency, stateKey, state, sinceUnixMs, reason, nextProbeUnixMs }) => {
    const probe = nextProbeUnixMs === null ? '' : `; next probe in ${seconds(nextProbeUnixMs - nowUnixMs)} s`;
    return `  ${dependency} (${stateKey}): ${state} for ${seconds(nowUnixMs - sinceUnixMs)} s: ${reason}${probe}`;
  });
}

function captureLines({ capture, bypassed }: StatusFacts): string[] {
  const { mode, undeclared, listeners, hosts } = capture;
  const failed = listeners.filter(({ problem }) => problem !== '');
  const open = `${listeners.length - failed.length} of ${listeners.length} listeners open`;
  const wants = undeclared === null || mode !== 'iptables' ? '' : `, undeclared: ${undeclared}`;
  const lines = [`capture:   ${mode}${wants}${listeners.length > 0 ? `, ${open}` : ''}`];
  for (const { listen, target, problem } of listeners)
    lines.push(`  ${listen} for ${target}${problem === '' ? '' : `: NOT OPEN, ${problem}`}`);
  if (hosts.length > 0) lines.push('hosts:');
  for (const { name, addresses, ageMs, problem } of hosts) {
    const known = addresses === null ? 'not known yet' : addresses.join(', ') || 'no address';
    const age = ageMs === null ? '' : `, ${seconds(ageMs)} s old`;
    lines.push(`  ${name}: ${known}${age}${problem === '' ? '' : `; ${problem}`}`);
  }
  for (const [dependency, count] of Object.entries(bypassed))
    lines.push(`bypassed:  ${dependency}: at least ${count} connections were made past the sidecar`);
  return lines;
}

/** Nothing where TLS is spoken to no host. */
function tlsLines(hosts: readonly TlsView[]): string[] {
  return hosts.flatMap(({ dependency, serverName, port, certificates, handshake, expiresUnixMs }, index) => {
    const expiries = Object.entries(expiresUnixMs)
      .filter(([, unixMs]) => Number.isFinite(unixMs))
      .map(([certificate, unixMs]) => `, ${certificate} certificate until ${new Date(unixMs).toISOString()}`);
    const problems = [...certificates, ...(handshake === null ? [] : [sentenceOf(handshake)])];
    return [
      ...(index === 0 ? ['tls:'] : []),
      `  ${dependency}: to ${serverName}, port ${port}${expiries.join('')}`,
      ...problems.map((problem) => `    PROBLEM: ${problem}`),
    ];
  });
}

const percent = (share: number) => `${Math.round(share * 100)} %`;
const milliseconds = (ms: number) => `${ms < 10 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`;

function seconds(durationMs: number): number {
  return Math.max(0, Math.round(durationMs / 1000));
}

function describe(version: string | null, streamUp: boolean): string {
  return `${version === null ? 'none yet' : `version ${version}`}, stream ${streamUp ? 'up' : 'DOWN'}`;
}
