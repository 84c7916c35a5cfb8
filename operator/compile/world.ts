// Everything that compile may know, as immutable values; trimmed to what is used, so that caches of large clusters stay small.
// This folder owns the type: watch/ (cluster) and standalone's folder source produce it.
import type { ResiliencePolicy } from '../../crds/resilience-policy.ts';
import type { ServiceDependency } from '../../crds/service-dependency.ts';
import type { Birth } from './birth.ts';
import type { CaptureMode, InjectionDefaults } from './capture.ts';

export interface ObjectKey {
  namespace: string;
  name: string;
}

export interface WorldNamespace {
  name: string;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
}

export interface WorldServicePort {
  /** Empty where the Service has one unnamed port. */
  name: string;
  port: number;
  protocol: 'TCP' | 'UDP' | 'SCTP';
  appProtocol: string | undefined;
}

export interface WorldService extends ObjectKey {
  type: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalName';
  /** ClusterIPs of both families; empty for headless and ExternalName. */
  clusterIPs: readonly string[];
  headless: boolean;
  ports: readonly WorldServicePort[];
  sessionAffinity: 'None' | 'ClientIP';
  internalTrafficPolicy: 'Cluster' | 'Local';
}

export interface WorldEndpointSlice extends ObjectKey {
  /** From the label kubernetes.io/service-name. */
  service: string;
  addressType: 'IPv4' | 'IPv6' | 'FQDN';
  /** `port: undefined` means all ports. */
  ports: readonly { name: string; port: number | undefined; appProtocol: string | undefined }[];
  endpoints: readonly {
    addresses: readonly string[];
    /** Missing conditions are already resolved: ready true, serving true, terminating false. */
    ready: boolean;
    serving: boolean;
    terminating: boolean;
    /** "namespace/name" of the pod, where the target is one. */
    pod: string | undefined;
    /** Node and zone that it runs in; undefined where the slice does not say. */
    node: string | undefined;
    zone: string | undefined;
    /** Names of the zones and nodes that it is to serve; undefined where there are none. */
    hints: { zones: readonly string[]; nodes: readonly string[] } | undefined;
  }[];
}

export interface WorldPod extends ObjectKey {
  uid: string;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
  creationTimestamp: string;
  phase: string;
  terminating: boolean;
  ip: string | undefined;
  /** Undefined until it is scheduled. */
  node: string | undefined;
  serviceAccountName: string;
  hostNetwork: boolean;
  mirror: boolean;
  /** Has our container. */
  injected: boolean;
  /** How its connections reach that; undefined where it has none. */
  capture: CaptureMode | undefined;
  /** Where they are not redirected: what it was born with. */
  birth: Birth | undefined;
  /** Files of certificates that its sidecar was given at its start, as pathOfCertificate writes them; undefined: whatever there is. */
  certificates: ReadonlySet<string> | undefined;
  /** Its controller. */
  owner: { kind: string; name: string } | undefined;
}

/** The API server refused a pod that injection had changed, and what it said names something of ours. */
export interface WorldRefusal extends ObjectKey {
  /** The controller that could not create it. */
  owner: { kind: string; name: string };
  message: string;
  /** RFC 3339, the last time. */
  at: string;
  /** RFC 3339, the first time. */
  since: string;
}

/** What an object of ours looked like when it could not be parsed: only its identity and the reasons. */
export interface InvalidObject extends ObjectKey {
  kind: 'ServiceDependency' | 'ResiliencePolicy';
  generation: number;
  problems: readonly { path: string; message: string }[];
}

/** Where the chart is installed unless somebody says otherwise. */
export const DEFAULT_SYSTEM_NAMESPACE = 'breakwater-system';

export interface World {
  clusterDomain: string;
  /** The operator's own: where policies for the whole platform are. */
  systemNamespace: string;
  injection: InjectionDefaults;
  namespaces: readonly WorldNamespace[];
  services: readonly WorldService[];
  endpointSlices: readonly WorldEndpointSlice[];
  pods: readonly WorldPod[];
  serviceDependencies: readonly ServiceDependency[];
  resiliencePolicies: readonly ResiliencePolicy[];
  invalid: readonly InvalidObject[];
  refusals: readonly WorldRefusal[];
}
