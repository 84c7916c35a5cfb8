// How the connections of a pod are captured, by what its namespace allows. Admission decides by it, and status explains by it.

/** How the connections of a pod reach its sidecar. */
export type CaptureMode = 'iptables' | 'loopback' | 'explicit';
/** `auto`: as the namespace allows it. */
export type CaptureSetting = 'auto' | CaptureMode;

export const CAPTURE_ANNOTATION = 'breakwater.dev/capture';
const POD_SECURITY_LABEL = 'pod-security.kubernetes.io/enforce';

/** What holds for the whole installation. */
export interface InjectionDefaults {
  capture: CaptureSetting;
  /** The PodSecurity level of namespaces whose labels name none. */
  podSecurityDefault: 'privileged' | 'baseline' | 'restricted';
}

/** As the chart has them. */
export const INJECTION_DEFAULTS: InjectionDefaults = { capture: 'auto', podSecurityDefault: 'privileged' };

export interface EnforcedLevel {
  level: 'baseline' | 'restricted';
  by: 'the namespace' | 'the cluster';
}

/** The PodSecurity level under which pods of a namespace are, where it forbids the init container of `iptables`. */
export function enforcedLevel(
  labels: Readonly<Record<string, string>>,
  { podSecurityDefault }: Pick<InjectionDefaults, 'podSecurityDefault'>,
): EnforcedLevel | undefined {
  const written = labels[POD_SECURITY_LABEL];
  const level = written ?? podSecurityDefault;
  if (level !== 'baseline' && level !== 'restricted') return undefined;
  return { level, by: written === undefined ? 'the cluster' : 'the namespace' };
}

/** `auto`, decided. */
export function captureOf(setting: CaptureSetting, enforced: EnforcedLevel | undefined): CaptureMode {
  if (setting !== 'auto') return setting;
  return enforced ? 'loopback' : 'iptables';
}
