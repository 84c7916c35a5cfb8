// Pods as nobody writes them, but as the API server would take them: every type of container, volume, probe and hook, and the names, ports,
// users, labels and annotations that collide with ours. The same seed gives the same pod. A few are refused; the test counts that.
import type { Pod } from '../pod.ts';
import { Dice, type Json, user } from './dice.ts';
import { container, type Surroundings } from './random-container.ts';

function volume(dice: Dice, name: string, careful: boolean): Json {
  const sources: (() => Json)[] = [
    () => ({ emptyDir: dice.fields(0.5, { medium: () => 'Memory', sizeLimit: () => '64Mi' }) }),
    () => ({
      configMap: { name: 'settings', ...dice.fields(0.3, { defaultMode: () => 0o400, optional: () => true }) },
    }),
    () => ({ secret: { secretName: 'passwords' } }),
    () => ({ downwardAPI: { items: [{ path: 'labels', fieldRef: { fieldPath: 'metadata.labels' } }] } }),
    () => ({ persistentVolumeClaim: { claimName: 'data' } }),
    () => ({
      projected: {
        sources: [
          {
            serviceAccountToken: {
              audience: dice.pick(['breakwater', 'vault']),
              expirationSeconds: 7200,
              path: 'token',
            },
          },
          { configMap: { name: 'settings' } },
        ],
      },
    }),
    () => ({ csi: { driver: 'secrets.example.com', readOnly: true } }),
    () => ({
      ephemeral: {
        volumeClaimTemplate: {
          spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
        },
      },
    }),
    () => ({}),
  ];
  const dangerous: (() => Json)[] = [
    () => ({ hostPath: { path: '/var/log', type: 'Directory' } }),
    () => ({ nfs: { server: 'nfs.example.com', path: '/' } }),
  ];
  return { name, ...dice.pick(careful ? sources : [...sources, ...dangerous])() };
}

const OUR_ANNOTATIONS: Readonly<Record<string, readonly string[]>> = {
  'breakwater.dev/capture': ['iptables', 'loopback', 'explicit', 'auto', 'ebpf', ''],
  'breakwater.dev/exclude-outbound-ports': ['5432', '1-65535', 'http', '8000-7000'],
  'breakwater.dev/exclude-outbound-cidrs': ['10.0.0.0/8', '::1/128, 192.168.0.0/16', '10.0.0.0/33'],
  'breakwater.dev/outbound-port': ['16001', '0', '15102'],
  'breakwater.dev/admin-port': ['16002', '8080', '-1', '99999'],
  'breakwater.dev/control-port': ['16003', '15101'],
  'breakwater.dev/sidecar-image': ['example.com/sidecar:2', 'a b', ''],
  'breakwater.dev/sidecar-cpu-request': ['5m', 'none', '1e3', '0'],
  'breakwater.dev/sidecar-cpu-limit': ['100m', 'none', '1m'],
  'breakwater.dev/sidecar-memory-request': ['64Mi', 'none', '64MB'],
  'breakwater.dev/sidecar-memory-limit': ['128Mi', '1Ki', '64Mi'],
  'breakwater.dev/log-level': ['debug', 'silent', 'loud'],
  'breakwater.dev/first-plan-wait-ms': ['0', '110000', '110001', '1s'],
  'breakwater.dev/injected': ['0.1.0', '0.0.9', ''],
  'breakwater.dev/bootstrap': ['{}', 'copied'],
  'breakwater.dev/captur': ['iptables'],
  'breakwater.dev/enforcement': ['disabled'],
};

function annotations(dice: Dice): Json {
  const own = dice.chance(0.4)
    ? Object.entries(OUR_ANNOTATIONS)
        .filter(() => dice.chance(0.12))
        .map(([key, values]) => [key, dice.pick(values)] as const)
    : [];
  // Mostly values that mean something: others would hide each other.
  const capture = dice.chance(0.5)
    ? [['breakwater.dev/capture', dice.pick(['iptables', 'loopback', 'explicit'])] as const]
    : [];
  return {
    ...Object.fromEntries([...own, ...capture]),
    ...dice.fields(0.04, {
      'kubectl.kubernetes.io/default-container': () => dice.pick(['c0', 'nowhere', '']),
      'sidecar.istio.io/inject': () => dice.pick(['true', 'false']),
      'linkerd.io/inject': () => 'enabled',
      'example.com/odd': () => '\u0000\u001b[31m\r\n\u2028{"a":1}',
      'example.com/large': () => 'x'.repeat(65_536),
      [`${'a'.repeat(60)}.example.com/${'Z'.repeat(63)}`]: () => 'ü',
    }),
  };
}

function podSecurity(dice: Dice, careful: boolean): Json {
  return {
    ...(careful ? { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } } : {}),
    ...dice.fields(0.25, {
      runAsUser: () => (careful ? 1000 : user(dice)),
      fsGroup: () => 2000,
      supplementalGroups: () => [3000],
      fsGroupChangePolicy: () => 'OnRootMismatch',
      sysctls: () => [
        ...dice.some([{ name: 'net.ipv4.ip_unprivileged_port_start', value: dice.pick(['0', '1024', '80']) }], 0.5),
        ...dice.some([{ name: 'net.ipv4.tcp_syncookies', value: '1' }], 0.5),
      ],
    }),
  };
}

const hostAliases = (dice: Dice): Json[] =>
  dice.some(
    [
      { ip: '127.0.0.1', hostnames: ['local.example.com'] },
      { ip: '10.1.2.3', hostnames: ['payments', 'legacy'] },
      { ip: '127.77.0.1', hostnames: ['own.example.com'] },
      { ip: 'fd00::1', hostnames: ['six.example.com'] },
      { ip: '10.9.9.9' },
    ],
    0.4,
  );

/** Beside the containers. */
function more(dice: Dice, careful: boolean): Json {
  return {
    ...dice.fields(0.12, {
      restartPolicy: () => dice.pick(['Always', 'OnFailure', 'Never']),
      terminationGracePeriodSeconds: () => dice.integer(0, 600),
      activeDeadlineSeconds: () => dice.integer(1, 600),
      dnsPolicy: () => dice.pick(['ClusterFirst', 'Default']),
      dnsConfig: () => ({
        nameservers: ['10.0.0.10'],
        searches: ['example.com'],
        options: [{ name: 'ndots', value: '5' }],
      }),
      nodeSelector: () => ({ 'kubernetes.io/os': dice.chance(0.1) ? 'windows' : 'linux', disk: 'ssd' }),
      automountServiceAccountToken: () => dice.chance(0.5),
      shareProcessNamespace: () => true,
      imagePullSecrets: () => [{ name: 'registry' }],
      hostname: () => dice.pick(['payments', 'own']),
      subdomain: () => 'cart',
      setHostnameAsFQDN: () => dice.chance(0.5),
      affinity: () => ({
        podAntiAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: [
            { labelSelector: { matchLabels: { app: 'checkout' } }, topologyKey: 'kubernetes.io/hostname' },
          ],
        },
      }),
      tolerations: () => [{ key: 'dedicated', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 60 }],
      topologySpreadConstraints: () => [
        {
          maxSkew: 1,
          topologyKey: 'zone',
          whenUnsatisfiable: 'ScheduleAnyway',
          labelSelector: { matchLabels: { app: 'x' } },
        },
      ],
      readinessGates: () => [{ conditionType: 'example.com/ready' }],
      schedulingGates: () => [{ name: 'example.com/wait' }],
      enableServiceLinks: () => dice.chance(0.5),
      preemptionPolicy: () => 'PreemptLowerPriority',
      os: () => ({ name: 'linux' }),
      schedulerName: () => 'other',
      hostAliases: () => hostAliases(dice),
    }),
    ...(dice.chance(0.4) || careful ? { securityContext: podSecurity(dice, careful) } : {}),
    ...(careful
      ? {}
      : dice.fields(0.03, {
          hostNetwork: () => true,
          hostPID: () => true,
          hostIPC: () => true,
          hostUsers: () => false,
        })),
  };
}

/** With so many bytes left of the 256 KiB that all annotations may have. */
function filled(annotations: Json, leftBytes: number): Json {
  const used = Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(String(value)),
    0,
  );
  return { ...annotations, f: 'x'.repeat(Math.max(0, 256 * 1024 - used - 1 - leftBytes)) };
}

function metadata(dice: Dice): Json {
  return {
    generateName: 'random-',
    labels: {
      app: dice.pick(['checkout', 'checkout', 'other']),
      ...dice.fields(0.04, {
        'breakwater.dev/injection': () => dice.pick(['disabled', 'enabled', '']),
        'breakwater.dev/injected': () => dice.pick(['true', 'false']),
        'sidecar.istio.io/inject': () => 'false',
        empty: () => '',
      }),
    },
    annotations: dice.chance(0.01) ? filled(annotations(dice), dice.integer(0, 150)) : annotations(dice),
    // The pods of one controller wait once for what they declare.
    ownerReferences: [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'random', uid: `uid-${dice.integer(0, 3)}`, controller: true },
    ],
    ...dice.fields(0.05, { finalizers: () => ['example.com/hold'] }),
  };
}

/** `careful`: as PodSecurity restricted wants it. */
export function randomPod(seed: number, careful: boolean): Pod {
  const dice = new Dice(seed);
  const podLevelResources = dice.chance(0.1);
  const names = (prefix: string, max: number) =>
    Array.from({ length: dice.integer(0, max) }, (_, index) => `${prefix}${index}`);
  const volumes = [
    ...names('v', 4),
    ...dice.some(['breakwater-token', 'breakwater-state', 'breakwater-certificates'], 0.01),
    ...dice.some(['kube-api-access-abcde'], 0.05),
  ];
  const around: Surroundings = { volumes, careful, podLevelResources };
  const inits = [...names('init', 2), ...dice.some(['breakwater', 'breakwater-capture', 'istio-init'], 0.01)];
  const apps = ['c0', ...names('more', dice.chance(0.05) ? 20 : 2), ...dice.some(['linkerd-proxy'], 0.01)];
  const spec = {
    ...(dice.chance(0.97) ? { serviceAccountName: dice.pick(['default', 'own']) } : {}),
    ...(volumes.length > 0 ? { volumes: volumes.map((name) => volume(dice, name, careful)) } : {}),
    ...(inits.length > 0
      ? { initContainers: inits.map((name) => container(dice, name, dice.pick(['init', 'sidecar']), around)) }
      : {}),
    containers: apps.map((name) => container(dice, name, 'app', around)),
    ...more(dice, careful),
    ...(podLevelResources
      ? { resources: { requests: { cpu: '64', memory: '64Gi' }, limits: { cpu: '128', memory: '128Gi' } } }
      : {}),
  };
  return { metadata: metadata(dice), spec } as unknown as Pod;
}
