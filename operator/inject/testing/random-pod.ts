// Pods as nobody writes them, but as the API server would take them: every type of container, volume, probe and hook, and the names, ports,
// users, labels and annotations that collide with ours. The same seed gives the same pod. A few are refused; the test counts that.
import { type Random, seededRandom } from '../../../runtime/random.ts';
import type { Pod } from '../pod.ts';

type Json = Record<string, unknown>;

class Dice {
  readonly #random: Random;

  constructor(seed: number) {
    // Neighbouring seeds begin alike; what they begin with is thrown away.
    this.#random = seededRandom(Math.imul(seed + 1, 0x9e3779b1));
    for (let i = 0; i < 8; i++) this.#random();
  }

  chance(probability: number): boolean {
    return this.#random() < probability;
  }

  integer(min: number, max: number): number {
    return min + Math.floor(this.#random() * (max - min + 1));
  }

  pick<const T>(values: readonly T[]): T {
    const value = values[this.integer(0, values.length - 1)];
    if (value === undefined) throw new Error('nothing to pick from');
    return value;
  }

  /** Some of these, each with this probability. */
  some<const T>(values: readonly T[], probability: number): T[] {
    return values.filter(() => this.chance(probability));
  }

  /** An object of those of the fields that are thrown. */
  fields(probability: number, fields: Readonly<Record<string, () => unknown>>): Json {
    const thrown = Object.entries(fields).filter(() => this.chance(probability));
    return Object.fromEntries(thrown.map(([name, value]) => [name, value()]));
  }
}

/** Ports of the sidecar are among them, rarely. */
function port(dice: Dice): number {
  if (dice.chance(0.01)) return dice.pick([15_101, 15_102, 15_103, 15_110]);
  return dice.pick([80, 443, 3000, 5432, 8080, 9090, dice.integer(1024, 65_535)]);
}

function user(dice: Dice): number {
  return dice.chance(0.02) ? 14_750 : dice.pick([0, 1, 999, 1000, 65_534]);
}

/** `careful`: without a host, as PodSecurity baseline wants it. */
const handler = (dice: Dice, ports: readonly string[], careful: boolean): Json => {
  const target = () => (ports.length > 0 && dice.chance(0.5) ? dice.pick(ports) : port(dice));
  return dice.pick<() => Json>([
    () => ({
      httpGet: {
        port: target(),
        ...dice.fields(0.4, {
          path: () => dice.pick(['/', '/healthz', '/a b', '/%zz']),
          scheme: () => dice.pick(['HTTP', 'HTTPS']),
          ...(careful ? {} : { host: () => dice.pick(['127.0.0.1', 'localhost', 'payments.shop']) }),
          httpHeaders: () => [{ name: 'X-Probe', value: 'a: b' }],
        }),
      },
    }),
    () => ({ tcpSocket: { port: target(), ...(careful ? {} : dice.fields(0.2, { host: () => '127.0.0.1' })) } }),
    () => ({ exec: { command: ['sh', '-c', 'exit 0'] } }),
  ])();
};

function probe(
  dice: Dice,
  ports: readonly string[],
  careful: boolean,
  kind: 'liveness' | 'readiness' | 'startup',
): Json {
  const grpc = { grpc: { port: port(dice), ...dice.fields(0.5, { service: () => 'health' }) } };
  return {
    ...(dice.chance(0.2) ? grpc : handler(dice, ports, careful)),
    ...dice.fields(0.3, {
      initialDelaySeconds: () => dice.integer(0, 60),
      periodSeconds: () => dice.integer(1, 60),
      timeoutSeconds: () => dice.integer(1, 30),
      failureThreshold: () => dice.integer(1, 10),
      successThreshold: () => (kind === 'readiness' ? dice.integer(1, 3) : 1),
    }),
    ...(kind === 'readiness' ? {} : dice.fields(0.1, { terminationGracePeriodSeconds: () => dice.integer(1, 60) })),
  };
}

function resources(dice: Dice): Json {
  const cpu = dice.integer(1, 500);
  const memory = dice.integer(4, 512);
  const guaranteed = dice.chance(0.3);
  return {
    ...dice.fields(0.7, { requests: () => ({ cpu: `${cpu}m`, memory: `${memory}Mi` }) }),
    ...(guaranteed
      ? { requests: { cpu: `${cpu}m`, memory: `${memory}Mi` }, limits: { cpu: `${cpu}m`, memory: `${memory}Mi` } }
      : dice.fields(0.5, {
          limits: () => ({
            cpu: `${cpu + 500}m`,
            memory: `${memory + 512}Mi`,
            ...dice.fields(0.2, { 'ephemeral-storage': () => '1Gi' }),
          }),
        })),
  };
}

const containerSecurity = (dice: Dice, careful: boolean): Json => ({
  ...dice.fields(0.4, {
    readOnlyRootFilesystem: () => dice.chance(0.5),
    runAsUser: () => user(dice),
    runAsGroup: () => user(dice),
    seLinuxOptions: () => ({ level: 's0:c1,c2' }),
  }),
  ...(careful
    ? {
        allowPrivilegeEscalation: false,
        capabilities: { drop: ['ALL'], ...dice.fields(0.2, { add: () => ['NET_BIND_SERVICE'] }) },
        runAsNonRoot: true,
        seccompProfile: { type: 'RuntimeDefault' },
        runAsUser: 1000,
      }
    : dice.fields(0.2, {
        privileged: () => true,
        capabilities: () => ({ add: dice.some(['NET_ADMIN', 'SYS_TIME', 'CHOWN'], 0.5) }),
        seccompProfile: () => dice.pick([{ type: 'Unconfined' }, { type: 'RuntimeDefault' }]),
      })),
});

const variable = (dice: Dice, name: string): Json => ({
  name,
  ...dice.pick<() => Json>([
    () => ({ value: dice.pick(['', 'a', '$(HOME)', '$(BREAKWATER_PAYMENTS_URL)', 'ü\n"', 'x'.repeat(500)]) }),
    () => ({
      valueFrom: { fieldRef: { fieldPath: dice.pick(['metadata.name', 'status.podIP', "metadata.annotations['a']"]) } },
    }),
    () => ({ valueFrom: { configMapKeyRef: { name: 'settings', key: 'a', optional: true } } }),
    () => ({ valueFrom: { secretKeyRef: { name: 'passwords', key: 'a' } } }),
    () => ({ valueFrom: { resourceFieldRef: { resource: 'limits.cpu', divisor: '1m' } } }),
  ])(),
});

const VARIABLES = [
  'HOME',
  'A_B',
  'a.b',
  'BREAKWATER_CAPTURE',
  'BREAKWATER_PAYMENTS_URL',
  'BREAKWATER_STRIPE_ADDRESS',
  'OWN',
] as const;

interface Surroundings {
  /** Names of the volumes. */
  volumes: readonly string[];
  /** Like those of namespaces with PodSecurity restricted. */
  careful: boolean;
  podLevelResources: boolean;
}

function container(dice: Dice, name: string, kind: 'app' | 'init' | 'sidecar', around: Surroundings): Json {
  const ports = dice.some(['http', 'metrics', 'p-1'], 0.35);
  const runs = kind !== 'init';
  return {
    name,
    image: dice.pick(['a/b:1', 'images.example.com:5000/x@sha256:'.concat('0'.repeat(64)), 'nginx']),
    ...(kind === 'sidecar' ? { restartPolicy: 'Always' } : {}),
    ...(ports.length > 0
      ? {
          ports: ports.map((portName) => ({
            name: portName,
            containerPort: port(dice),
            ...dice.fields(0.3, { protocol: () => dice.pick(['TCP', 'UDP', 'SCTP']) }),
          })),
        }
      : {}),
    ...dice.fields(0.25, {
      command: () => ['sh', '-c', 'sleep 1; echo "$A"'],
      args: () => ['--flag', ''],
      workingDir: () => '/srv',
      env: () => dice.some(VARIABLES, 0.4).map((one) => variable(dice, one)),
      envFrom: () => [{ prefix: 'P_', configMapRef: { name: 'settings', optional: true } }],
      imagePullPolicy: () => dice.pick(['Always', 'Never', 'IfNotPresent']),
      securityContext: () => containerSecurity(dice, around.careful),
      terminationMessagePolicy: () => 'FallbackToLogsOnError',
      stdin: () => true,
      tty: () => true,
      volumeMounts: () =>
        around.volumes
          .map((volume, index) => ({
            name: volume,
            mountPath: index === 0 && dice.chance(0.05) ? '/var/run/breakwater' : `/mnt/${index}`,
            ...dice.fields(0.3, { readOnly: () => true }),
          }))
          .slice(0, dice.chance(0.1) ? 1 : undefined),
    }),
    ...(around.careful ? { securityContext: containerSecurity(dice, true) } : {}),
    ...(dice.chance(around.podLevelResources ? 0.3 : 0.5) ? { resources: resources(dice) } : {}),
    ...(runs
      ? dice.fields(0.3, {
          livenessProbe: () => probe(dice, ports, around.careful, 'liveness'),
          readinessProbe: () => probe(dice, ports, around.careful, 'readiness'),
          startupProbe: () => probe(dice, ports, around.careful, 'startup'),
          lifecycle: () =>
            dice.fields(0.6, {
              postStart: () => handler(dice, ports, around.careful),
              preStop: () =>
                dice.chance(0.5) ? { sleep: { seconds: dice.integer(1, 20) } } : handler(dice, ports, around.careful),
            }),
        })
      : {}),
  };
}

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
