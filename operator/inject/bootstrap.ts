// What a pod without a privileged init container is born with: the bootstrap of its sidecar, and what leads its own connections there.
// Pure: the pod, the settings and what is declared at this moment in, all that changes in the pod out.
import {
  BOOTSTRAP_FORMAT_VERSION,
  BOOTSTRAP_LIMITS,
  type Bootstrap,
  type BootstrapEntry,
} from '../../plan/bootstrap.ts';
import { compareText } from '../compile/world-index.ts';
import type { Declared } from './declared.ts';
import { captureByExplicit, type Variable } from './explicit.ts';
import { type Alias, captureByLoopback, type LeftOut, UNPRIVILEGED_PORT_START } from './loopback.ts';
import { allContainersOf, type Pod } from './pod.ts';
import { createPortUsers } from './ports.ts';
import type { Settings } from './settings.ts';
import { ANNOTATIONS_BYTES } from './size.ts';

/** Of the annotations, what is left free for ours beside the bootstrap. */
const RESERVED_BYTES = 1024;
/** Of the bootstrap, at most, for what is left out of it. */
const LEFT_OUT_BYTES = 16 * 1024;
const FIRST_UNPRIVILEGED_PORT = 1024;

export interface Birth {
  bootstrap: Bootstrap;
  hostAliases: readonly Alias[];
  /** For every container of the user. */
  variables: readonly Variable[];
  sysctls: readonly { name: string; value: string }[];
  /** What is declared and not captured, and why. */
  leftOut: readonly LeftOut[];
  warnings: readonly string[];
}

export interface BirthContext {
  settings: Settings;
  capture: Bootstrap['capture'];
  /** Of the pod. */
  namespace: string;
  clusterDomain: string;
  declared: readonly Declared[];
}

export function birthOf(pod: Pod, context: BirthContext): Birth {
  return context.capture === 'loopback' ? loopbackBirth(pod, context) : explicitBirth(pod, context);
}

function loopbackBirth(pod: Pod, { settings, namespace, clusterDomain, declared }: BirthContext): Birth {
  const userOf = createPortUsers(pod, settings);
  const found = captureByLoopback(declared, { pod, namespace, clusterDomain, userOf });
  const room = new Room(pod);
  const kept = found.captured.filter(({ entry }) => room.take(entry));
  const full = found.captured.filter((one) => !kept.includes(one)).map(({ entry }) => noRoom(entry));
  const entries = kept.map(({ entry }) => entry);
  const isSet = (pod.spec?.securityContext?.sysctls ?? []).some(({ name }) => name === UNPRIVILEGED_PORT_START);
  const privileged = entries.some(({ ports }) => ports.some(({ listen }) => listen < FIRST_UNPRIVILEGED_PORT));
  return {
    ...finish('loopback', entries, [...found.leftOut, ...full], room),
    hostAliases: kept.map(({ alias }) => alias),
    variables: [],
    sysctls: privileged && !isSet ? [{ name: UNPRIVILEGED_PORT_START, value: '0' }] : [],
    warnings: [],
  };
}

function explicitBirth(pod: Pod, { settings, declared }: BirthContext): Birth {
  const userOf = createPortUsers(pod, settings);
  const found = captureByExplicit(declared, { portsFrom: settings.explicitPortsFrom, userOf });
  const room = new Room(pod);
  const entries = found.entries.filter((entry) => room.take(entry));
  const full = found.entries.filter((entry) => !entries.includes(entry)).map(noRoom);
  const listening = new Set(entries.flatMap(({ ports }) => ports.map(({ listen }) => String(listen))));
  const variables = found.variables.filter(({ value }) => listening.has(value.slice(value.lastIndexOf(':') + 1)));
  return {
    ...finish('explicit', entries, [...found.leftOut, ...full], room),
    hostAliases: [],
    variables,
    sysctls: [],
    warnings: [...found.warnings, ...setByUser(pod, variables)],
  };
}

/** How much of the annotation is left. A pod whose own annotations are near their bound would be refused with ours. */
class Room {
  readonly leftOutBytes: number;
  #bytes: number;
  #entries: number = BOOTSTRAP_LIMITS.entries;

  constructor(pod: Pod) {
    const own = Object.entries(pod.metadata?.annotations ?? {}).reduce(
      (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value),
      0,
    );
    const free = Math.max(0, Math.min(BOOTSTRAP_LIMITS.bytes, ANNOTATIONS_BYTES - own) - RESERVED_BYTES);
    this.leftOutBytes = Math.min(LEFT_OUT_BYTES, free);
    this.#bytes = free - this.leftOutBytes;
  }

  take(entry: BootstrapEntry): boolean {
    const bytes = Buffer.byteLength(JSON.stringify(entry)) + 1;
    if (bytes > this.#bytes || this.#entries === 0) return false;
    this.#bytes -= bytes;
    this.#entries--;
    return true;
  }
}

function noRoom({ service, host }: BootstrapEntry): LeftOut {
  const destination = service === null ? (host ?? '') : `${service.namespace}/${service.name}`;
  const message = 'the pod declares more than its annotation can hold; declare less, or use capture iptables';
  return { destination, reason: 'NoRoom', message };
}

function finish(
  capture: Bootstrap['capture'],
  entries: readonly BootstrapEntry[],
  leftOut: readonly LeftOut[],
  { leftOutBytes }: Room,
): Pick<Birth, 'bootstrap' | 'leftOut'> {
  const sorted = [...leftOut].sort((a, b) => compareText(a.destination, b.destination));
  const recorded: Bootstrap['leftOut'] = [];
  let bytes = 0;
  for (const { destination, reason, port } of sorted) {
    const one = { destination, reason, ...(port === undefined ? {} : { port }) };
    bytes += JSON.stringify(one).length + 1;
    if (bytes > leftOutBytes || recorded.length === BOOTSTRAP_LIMITS.entries) break;
    recorded.push(one);
  }
  return {
    bootstrap: { formatVersion: BOOTSTRAP_FORMAT_VERSION, capture, entries: [...entries], leftOut: recorded },
    leftOut: sorted,
  };
}

/** What the user wrote stays. */
function setByUser(pod: Pod, variables: readonly Variable[]): string[] {
  const ours = new Set(variables.map(({ name }) => name));
  return allContainersOf(pod).flatMap(({ name: container, env }) =>
    (env ?? [])
      .filter(({ name }) => ours.has(name))
      .map(({ name }) => `the container ${container} sets ${name} itself, and keeps its value`),
  );
}
