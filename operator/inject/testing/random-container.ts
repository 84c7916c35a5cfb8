// Containers as nobody writes them, for random pods: every probe, hook and source of a variable, and what collides with ours.
import { type Dice, type Json, port, user } from './dice.ts';

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

export interface Surroundings {
  /** Names of the volumes. */
  volumes: readonly string[];
  /** Like those of namespaces with PodSecurity restricted. */
  careful: boolean;
  podLevelResources: boolean;
}

export function container(dice: Dice, name: string, kind: 'app' | 'init' | 'sidecar', around: Surroundings): Json {
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
