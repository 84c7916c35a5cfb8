// Pods whose traffic another mesh captures already, or will: two redirections in one pod would each catch the other's connections.
import { quoted } from '../../runtime/printable.ts';
import { allContainersOf, type Pod, type PodNamespace } from './pod.ts';

interface Mark {
  key: string;
  /** Any value when absent. */
  values?: readonly string[];
}

interface Mesh {
  name: string;
  /** Containers that it has added. */
  containers: readonly string[];
  /** Labels and annotations that say that it has captured the pod. */
  captured: readonly Mark[];
  /** Labels and annotations by which a pod, or else its namespace, asks for it: webhooks of meshes may come after ours. */
  asked: readonly Mark[];
  /** By which a pod of such a namespace refuses it. */
  refused: readonly Mark[];
}

const MESHES: readonly Mesh[] = [
  {
    name: 'Istio',
    containers: ['istio-proxy', 'istio-init', 'istio-validation'],
    captured: [{ key: 'sidecar.istio.io/status' }, { key: 'ambient.istio.io/redirection', values: ['enabled'] }],
    asked: [
      { key: 'sidecar.istio.io/inject', values: ['true', 'enabled'] },
      { key: 'istio-injection', values: ['enabled'] },
      { key: 'istio.io/rev' },
      { key: 'istio.io/dataplane-mode', values: ['ambient'] },
    ],
    refused: [
      { key: 'sidecar.istio.io/inject', values: ['false', 'disabled'] },
      { key: 'istio.io/dataplane-mode', values: ['none'] },
    ],
  },
  {
    name: 'Linkerd',
    containers: ['linkerd-proxy', 'linkerd-init'],
    captured: [{ key: 'linkerd.io/proxy-version' }],
    asked: [{ key: 'linkerd.io/inject', values: ['enabled', 'ingress'] }],
    refused: [{ key: 'linkerd.io/inject', values: ['disabled'] }],
  },
  {
    name: 'Consul',
    containers: ['consul-dataplane', 'consul-connect-inject-init'],
    captured: [{ key: 'consul.hashicorp.com/connect-inject-status', values: ['injected'] }],
    asked: [{ key: 'consul.hashicorp.com/connect-inject', values: ['true'] }],
    refused: [{ key: 'consul.hashicorp.com/connect-inject', values: ['false'] }],
  },
  {
    name: 'Kuma',
    containers: ['kuma-sidecar', 'kuma-init'],
    captured: [{ key: 'kuma.io/sidecar-injected', values: ['true'] }],
    asked: [{ key: 'kuma.io/sidecar-injection', values: ['enabled', 'true'] }],
    refused: [{ key: 'kuma.io/sidecar-injection', values: ['disabled', 'false'] }],
  },
];

type Marks = Readonly<Record<string, string>>;

function findMark(marks: readonly Mark[], ...sources: readonly Marks[]): string | undefined {
  for (const { key, values } of marks) {
    for (const source of sources) {
      const value = Object.hasOwn(source, key) ? source[key] : undefined;
      if (value !== undefined && (values?.includes(value) ?? true)) return `${key}: ${quoted(value, 64)}`;
    }
  }
  return undefined;
}

/** Which mesh, and by what it is known; undefined: none. */
export function findOtherMesh(
  pod: Pod,
  namespace: PodNamespace | undefined,
): { mesh: string; evidence: string } | undefined {
  const names = new Set(allContainersOf(pod).map((container) => container.name));
  const labels = pod.metadata?.labels ?? {};
  const annotations = pod.metadata?.annotations ?? {};
  for (const mesh of MESHES) {
    const container = mesh.containers.find((name) => names.has(name));
    if (container !== undefined) return { mesh: mesh.name, evidence: `the container ${container}` };
    const captured = findMark(mesh.captured, annotations, labels);
    if (captured !== undefined) return { mesh: mesh.name, evidence: captured };
    if (findMark(mesh.refused, labels, annotations) !== undefined) continue;
    const asked = findMark(mesh.asked, labels, annotations);
    if (asked !== undefined) return { mesh: mesh.name, evidence: asked };
    const wide = namespace && findMark(mesh.asked, namespace.labels, namespace.annotations);
    if (wide !== undefined) return { mesh: mesh.name, evidence: `${wide} on the namespace` };
  }
  return undefined;
}
