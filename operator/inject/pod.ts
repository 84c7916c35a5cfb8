// The parts of a Pod that injection looks at. The API server has already checked the object; what is not named here is left as it is.

export interface Probe {
  httpGet?: { port?: number | string } | null;
  tcpSocket?: { port?: number | string } | null;
  grpc?: { port?: number } | null;
}

export interface Container {
  name: string;
  image?: string;
  restartPolicy?: string;
  ports?: { containerPort?: number }[] | null;
  env?: { name: string }[] | null;
  securityContext?: { runAsUser?: number | null } | null;
  livenessProbe?: Probe | null;
  readinessProbe?: Probe | null;
  startupProbe?: Probe | null;
  lifecycle?: { postStart?: Probe | null; preStop?: Probe | null } | null;
}

export interface Pod {
  metadata?: {
    name?: string;
    generateName?: string;
    namespace?: string;
    labels?: Record<string, string> | null;
    annotations?: Record<string, string> | null;
    ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean }[] | null;
  };
  spec?: {
    hostNetwork?: boolean;
    hostname?: string;
    hostAliases?: { ip: string; hostnames?: string[] | null }[] | null;
    serviceAccountName?: string;
    os?: { name?: string } | null;
    nodeSelector?: Record<string, string> | null;
    securityContext?: { runAsUser?: number | null; sysctls?: { name: string; value: string }[] | null } | null;
    /** Resources of the pod as a whole. */
    resources?: unknown;
    initContainers?: Container[] | null;
    containers?: Container[] | null;
    volumes?: { name: string }[] | null;
  };
}

/** What injection knows of the pod's namespace. */
export interface PodNamespace {
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
}

export const initContainersOf = (pod: Pod): readonly Container[] => pod.spec?.initContainers ?? [];
export const containersOf = (pod: Pod): readonly Container[] => pod.spec?.containers ?? [];
export const allContainersOf = (pod: Pod): readonly Container[] => [...initContainersOf(pod), ...containersOf(pod)];
