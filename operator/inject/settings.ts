// What can be set for one pod. This table is the only place where an annotation, its default, its range and its documentation are written;
// the chart's values replace the defaults, a pod's annotation replaces both.

import { BOOTSTRAP_ANNOTATION } from '../../plan/bootstrap.ts';
import { quoted } from '../../runtime/printable.ts';
import { CAPTURE_ANNOTATION, type CaptureSetting } from '../compile/capture.ts';

export const ANNOTATION_PREFIX = 'breakwater.dev/';
export const INJECTION_LABEL = 'breakwater.dev/injection';
/** Written on every injected pod: the version of the operator that did it. */
export const INJECTED_ANNOTATION = 'breakwater.dev/injected';
/** On every injected pod, "true": to select them by. */
export const INJECTED_LABEL = 'breakwater.dev/injected';
/** Annotations of ours that are not settings of injection, and may stand on a pod. */
const OTHER_ANNOTATIONS: ReadonlySet<string> = new Set([
  INJECTED_ANNOTATION,
  BOOTSTRAP_ANNOTATION,
  'breakwater.dev/enforcement',
]);

export type Parsed<T> = { ok: true; value: T } | { ok: false; message: string };

interface Setting<T> {
  annotation: string;
  default: T;
  /** What may be written, for people. */
  type: string;
  doc: string;
  parse: (text: string) => Parsed<T>;
}

const good = <T>(value: T): Parsed<T> => ({ ok: true, value });
const bad = (message: string): { ok: false; message: string } => ({ ok: false, message });

function oneOf<const T extends string>(...values: readonly T[]) {
  return (text: string): Parsed<T> => {
    const value = values.find((candidate) => candidate === text);
    return value === undefined ? bad(`must be ${values.join(', ')}`) : good(value);
  };
}

function wholeNumber(minimum: number, maximum: number) {
  return (text: string): Parsed<number> => {
    const value = Number(text);
    const fits = /^\d{1,10}$/.test(text) && value >= minimum && value <= maximum;
    return fits ? good(value) : bad(`must be a whole number from ${minimum} to ${maximum}`);
  };
}

const splitList = (text: string) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

/** "5432, 8000-8010" → "5432,8000-8010" */
function portList(text: string): Parsed<string> {
  const items = splitList(text);
  const wrong = items.find((item) => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(item);
    const from = Number(match?.[1]);
    const to = Number(match?.[2] ?? match?.[1]);
    return !match || from < 1 || to > 65_535 || from > to;
  });
  if (wrong !== undefined)
    return bad(`${quoted(wrong, 64)} is neither a port (1 to 65535) nor a range such as 8000-8010`);
  return good(items.join(','));
}

const IPV4 = /^(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$/;

/** An IPv6 address in any of its usual spellings: eight groups, of which one run may be left out, the last two perhaps as IPv4. */
function isIpv6(text: string): boolean {
  const dotted = /:([^:]*\..*)$/.exec(text)?.[1];
  if (dotted !== undefined && !IPV4.test(dotted)) return false;
  const plain = dotted === undefined ? text : `${text.slice(0, -dotted.length)}0:0`;
  const halves = plain.split('::');
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return false;
  return halves.length === 2 ? groups.length <= 7 : groups.length === 8;
}

function isCidr(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/');
  if (rest.length > 0 || (prefix !== undefined && !/^\d{1,3}$/.test(prefix))) return false;
  const bits = Number(prefix ?? 0);
  return (IPV4.test(address) && bits <= 32) || (isIpv6(address) && bits <= 128);
}

function cidrList(text: string): Parsed<string> {
  const items = splitList(text);
  const wrong = items.find((item) => !isCidr(item));
  if (wrong !== undefined) return bad(`${quoted(wrong, 64)} is neither an IP address nor a CIDR such as 10.0.0.0/8`);
  return good(items.join(','));
}

const UNITS: Readonly<Record<string, number>> = {
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A Kubernetes quantity as a number; undefined where it is none. */
export function quantityOf(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,9})?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(text);
  const unit = UNITS[match?.[2] ?? ''];
  return match && unit !== undefined ? Number(match[1]) * unit : undefined;
}

/** "none": not set at all. */
function quantity(example: string) {
  return (text: string): Parsed<string> =>
    text === 'none' || (quantityOf(text) ?? 0) > 0
      ? good(text)
      : bad(`must be a quantity above zero such as ${example}, or none`);
}

function imageReference(text: string): Parsed<string> {
  return /^\S{1,1024}$/.test(text) ? good(text) : bad('must be an image reference, without spaces');
}

const setting = <T>(one: Setting<T>): Setting<T> => one;
const PORT = wholeNumber(1, 65_535);
const PORT_TYPE = 'port, 1 to 65535';

export const SETTINGS = {
  capture: setting<CaptureSetting>({
    annotation: CAPTURE_ANNOTATION,
    default: 'auto',
    type: 'auto, iptables, loopback or explicit',
    doc: 'How outgoing connections reach the sidecar. `auto`: `loopback` where PodSecurity enforces baseline or restricted, else `iptables`.',
    parse: oneOf<CaptureSetting>('auto', 'iptables', 'loopback', 'explicit'),
  }),
  applicationPorts: setting({
    annotation: 'breakwater.dev/application-ports',
    default: '',
    type: 'ports and ranges, separated by commas',
    doc: 'Ports that the application listens on and no container declares. Under `loopback` a Service with such a port is left to the application, which could not bind it otherwise.',
    parse: portList,
  }),
  explicitPortsFrom: setting({
    annotation: 'breakwater.dev/explicit-ports-from',
    default: 15_200,
    type: 'port, 1024 to 65000',
    doc: 'Under `explicit` the first port at which the sidecar takes connections on 127.0.0.1, one for each dependency; ports in use are passed over.',
    parse: wholeNumber(1_024, 65_000),
  }),
  excludeOutboundPorts: setting({
    annotation: 'breakwater.dev/exclude-outbound-ports',
    default: '',
    type: 'ports and ranges, separated by commas',
    doc: 'Connections to these ports are not captured; under `iptables`.',
    parse: portList,
  }),
  excludeOutboundCidrs: setting({
    annotation: 'breakwater.dev/exclude-outbound-cidrs',
    default: '',
    type: 'CIDRs of either family, separated by commas',
    doc: 'Connections to these addresses are not captured; under `iptables`.',
    parse: cidrList,
  }),
  outboundPort: setting({
    annotation: 'breakwater.dev/outbound-port',
    default: 15_101,
    type: PORT_TYPE,
    doc: 'Where the sidecar takes captured connections, on loopback; under `iptables`.',
    parse: PORT,
  }),
  adminPort: setting({
    annotation: 'breakwater.dev/admin-port',
    default: 15_102,
    type: PORT_TYPE,
    doc: 'Probes and metrics of the sidecar, on the address of the pod.',
    parse: PORT,
  }),
  controlPort: setting({
    annotation: 'breakwater.dev/control-port',
    default: 15_103,
    type: PORT_TYPE,
    doc: 'Where `breakwater disable` and `breakwater enable` reach the sidecar, on loopback.',
    parse: PORT,
  }),
  image: setting({
    annotation: 'breakwater.dev/sidecar-image',
    default: 'breakwater/sidecar:latest',
    type: 'image reference',
    doc: 'Image of the sidecar.',
    parse: imageReference,
  }),
  cpuRequest: setting({
    annotation: 'breakwater.dev/sidecar-cpu-request',
    default: '20m',
    type: 'quantity or none',
    doc: 'CPU that the sidecar asks for.',
    parse: quantity('20m'),
  }),
  cpuLimit: setting({
    annotation: 'breakwater.dev/sidecar-cpu-limit',
    default: 'none',
    type: 'quantity or none',
    doc: 'CPU that the sidecar may use at most.',
    parse: quantity('2'),
  }),
  memoryRequest: setting({
    annotation: 'breakwater.dev/sidecar-memory-request',
    default: '64Mi',
    type: 'quantity or none',
    doc: 'Memory that the sidecar asks for.',
    parse: quantity('64Mi'),
  }),
  memoryLimit: setting({
    annotation: 'breakwater.dev/sidecar-memory-limit',
    default: '256Mi',
    type: 'quantity or none',
    doc: 'Memory that the sidecar may use at most.',
    parse: quantity('256Mi'),
  }),
  logLevel: setting({
    annotation: 'breakwater.dev/log-level',
    default: 'info',
    type: 'debug, info, warn, error or silent',
    doc: 'What the sidecar logs.',
    parse: oneOf('debug', 'info', 'warn', 'error', 'silent'),
  }),
  firstPlanWaitMs: setting({
    annotation: 'breakwater.dev/first-plan-wait-ms',
    default: 10_000,
    type: 'milliseconds, 0 to 110000',
    doc: 'How long the sidecar holds back the start of the pod for its first plan.',
    // Below what the startup probe allows: else a pod would never start while the operator is away.
    parse: wholeNumber(0, 110_000),
  }),
} as const;

type Table = typeof SETTINGS;
type Value<K extends keyof Table> = Table[K] extends Setting<infer T> ? T : never;
/** Everything that can be set for one pod. */
export type Settings = { [K in keyof Table]: Value<K> };
export type SettingName = keyof Table;

export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

export interface SettingProblem {
  annotation: string;
  value: string;
  message: string;
}

/** The table's defaults with those of an installation over them. */
export function defaultSettings(overrides: Partial<Settings> = {}): Settings {
  const defaults = Object.fromEntries(
    SETTING_NAMES.map((name) => [name, SETTINGS[name].default]),
  ) as unknown as Settings;
  return { ...defaults, ...overrides };
}

interface ResourceList {
  cpu?: string | number | undefined;
  memory?: string | number | undefined;
}

/** The settings that the `resources` of a container stand for; what is absent there is not set on the sidecar. */
export function resourceSettings(resources: { requests?: ResourceList; limits?: ResourceList }): Partial<Settings> {
  return {
    cpuRequest: String(resources.requests?.cpu ?? 'none'),
    memoryRequest: String(resources.requests?.memory ?? 'none'),
    cpuLimit: String(resources.limits?.cpu ?? 'none'),
    memoryLimit: String(resources.limits?.memory ?? 'none'),
  };
}

export type PodSettings = { ok: true; settings: Settings } | { ok: false; problems: readonly SettingProblem[] };

/** Reads a pod's annotations over the defaults. All problems are told at once. */
export function readSettings(annotations: Readonly<Record<string, string>>, defaults: Settings): PodSettings {
  const problems: SettingProblem[] = [];
  const read: Record<string, unknown> = {};
  for (const name of SETTING_NAMES) {
    const { annotation, parse } = SETTINGS[name];
    const text = annotations[annotation];
    if (text === undefined) continue;
    const parsed = parse(text.trim());
    if (parsed.ok) read[name] = parsed.value;
    else problems.push({ annotation, value: text, message: parsed.message });
  }
  const settings = { ...defaults, ...read } as Settings;
  if (problems.length === 0) problems.push(...relationProblems(settings));
  return problems.length === 0 ? { ok: true, settings } : { ok: false, problems };
}

function relationProblems(settings: Settings): SettingProblem[] {
  const problems: SettingProblem[] = [];
  const seen = new Set<number>();
  for (const name of ['outboundPort', 'adminPort', 'controlPort'] as const) {
    const port = settings[name];
    const { annotation } = SETTINGS[name];
    if (seen.has(port))
      problems.push({ annotation, value: String(port), message: 'is also another port of the sidecar' });
    seen.add(port);
  }
  for (const [request, limit] of [
    ['cpuRequest', 'cpuLimit'],
    ['memoryRequest', 'memoryLimit'],
  ] as const) {
    const asked = quantityOf(settings[request]);
    const allowed = quantityOf(settings[limit]);
    if (asked === undefined || allowed === undefined || asked <= allowed) continue;
    const message = `must not be above the limit, ${settings[limit]}`;
    problems.push({ annotation: SETTINGS[request].annotation, value: settings[request], message });
  }
  return problems;
}

/** Annotations with our prefix that mean nothing to us: misspelt, most likely. */
export function unknownAnnotations(annotations: Readonly<Record<string, string>>): string[] {
  const known = new Set<string>(SETTING_NAMES.map((name) => SETTINGS[name].annotation));
  return Object.keys(annotations)
    .filter((key) => key.startsWith(ANNOTATION_PREFIX) && !known.has(key) && !OTHER_ANNOTATIONS.has(key))
    .sort();
}
