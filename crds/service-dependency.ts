// ServiceDependency: whom the pods of one namespace depend on. Written by the team that calls.
import { z } from 'zod';
import { DOC_DEFAULT, DOC_TYPE, dnsLabel, mapList, text } from './fields.ts';
import { hostTls } from './host-tls.ts';
import { commonStatus, labelSelector, type ObjectMeta } from './kubernetes.ts';
import { type Rule, withRules } from './rules.ts';

const portNumber = z.int().min(1).max(65_535);
const portName = z.string().max(15);
const namedPort = /^[a-z0-9]+(-[a-z0-9]+)*$/;
const withoutLetter = /^[0-9-]+$/;

const servicePort = withRules(
  z.union([portNumber, portName]).meta({
    'x-kubernetes-int-or-string': true,
    description: 'Port of the Service: its number or its name.',
    [DOC_TYPE]: 'integer or name',
  }),
  [
    {
      cel: "type(self) == int || self.matches('^[0-9-]+$') || self.matches('^[a-z0-9]+(-[a-z0-9]+)*$')",
      message:
        'write a port number, or the name of a port of the Service: lower-case letters, digits and single "-" between them, such as http',
      holds: (port) => typeof port === 'number' || withoutLetter.test(port) || namedPort.test(port),
    },
    {
      cel: "type(self) == int || !self.matches('^[0-9-]+$')",
      message:
        'a port written as text is the name of a Service port and has a letter; write a port number without quotes',
      holds: (port) => typeof port === 'number' || !withoutLetter.test(port),
    },
  ],
);

const HOST_NAME = '^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\\\\.)*[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$';

/** What would never be recognised in a connection, or is a Service after all. A name that breaks the first rule is told only that. */
const HOST_RULES: readonly Rule<string>[] = [
  {
    cel: `self.matches('${HOST_NAME}')`,
    message:
      'write the name of one host in lower case, without scheme, port, wildcard or a dot at its end, such as api.example.com',
    holds: isHostName,
  },
  {
    cel: "!self.matches('(^|\\\\.)([0-9]+|0x[0-9a-f]*)$')",
    message:
      'an IP address says no name by which a connection could be recognised; write the name of the host, or make a Service without selector for the address and write service',
    holds: (name) => !/(^|\.)([0-9]+|0x[0-9a-f]*)$/.test(name),
  },
  {
    cel: `!self.matches('${HOST_NAME}') || self.contains('.')`,
    message:
      'a name without a dot is looked up in the cluster; write service for a Service, or the full name of the host',
    holds: (name) => !isHostName(name) || name.includes('.'),
  },
  {
    cel: "!self.matches('\\\\.svc(\\\\.cluster\\\\.local)?$')",
    message:
      'this is the name of a Service of the cluster; write service: {name, namespace, port} in the place of host',
    holds: (name) => !/\.svc(\.cluster\.local)?$/.test(name),
  },
  {
    cel: "!self.matches('(^|\\\\.)localhost$')",
    message: 'localhost is the pod itself, whose calls to itself are not captured; remove the entry',
    holds: (name) => !/(^|\.)localhost$/.test(name),
  },
];

function isHostName(name: string): boolean {
  return new RegExp(HOST_NAME.replaceAll('\\\\', '\\')).test(name);
}

const host = z
  .object({
    name: withRules(
      z
        .string()
        .min(1, { abort: true })
        .max(253, { abort: true })
        .meta({ description: 'Name of the host, as the application calls it.', [DOC_TYPE]: 'DNS name' }),
      HOST_RULES,
    ),
    port: portNumber.meta({ description: 'Port of the host, as the application calls it.' }),
    tls: hostTls
      .meta({
        ...hostTls.meta(),
        description:
          'TLS origination: the application calls the host in plain HTTP, and the sidecar speaks TLS (1.2 or newer) to it, so that every policy acts. TLS that the application speaks itself is forwarded unchanged. {} is enough for a host with a publicly trusted certificate.',
      })
      .optional(),
  })
  .meta({
    description:
      'The host outside the cluster that is called. Its connections are recognised by Host or, in TLS, by SNI. Request policies act only on plain HTTP, which tls lets the application speak.',
  });

const fields = z.object({
  name: dnsLabel(
    'Name of this dependency: unique in the object, used in metrics, answers and as sectionName of a policy.',
  ),
  service: z
    .object({
      name: dnsLabel('Name of the Service.', {
        dotted:
          'the name of a Service has no "."; write its first part alone, and its namespace, where it is another one, beside it as namespace',
      }),
      namespace: dnsLabel('Namespace of the Service.', { default: 'the namespace of this object' }).optional(),
      port: servicePort,
    })
    .meta({ description: 'The Service that is called. An entry has either service or host.' })
    .optional(),
  host: host.optional(),
  criticality: z
    .enum(['Required', 'Optional'])
    .meta({
      description:
        'Whether the consumer needs it to work. Shown in status and used by findings; it never affects readiness or requests.',
      [DOC_DEFAULT]: 'Required',
    })
    .optional(),
});

const entry = withRules(fields, [
  {
    cel: 'has(self.service) != has(self.host)',
    message: 'write one of the two: service for a Service of the cluster, host for a host outside of it',
    holds: ({ service, host }) => (service === undefined) !== (host === undefined),
  },
]);

export const serviceDependencySpec = z.object({
  consumer: z
    .object({
      selector: labelSelector.meta({
        ...labelSelector.meta(),
        description: 'Selects the pods of this namespace that make the calls. The empty selector selects all of them.',
      }),
    })
    .meta({ description: 'The calling pods.' }),
  dependsOn: mapList(entry.meta({ ...entry.meta(), description: 'One dependency.' }), {
    description: 'The dependencies that the consumer calls.',
    keys: ['name'],
    min: 1,
    max: 64,
  }),
  undeclared: z
    .enum(['Allow', 'Warn', 'Deny'])
    .meta({
      description:
        'What happens to connections to undeclared destinations. Allow: forwarded. Warn: forwarded, and counted by destination. Deny: refused. If several ServiceDependencies select a pod, the strictest applies. Enforced only under capture iptables.',
      [DOC_DEFAULT]: 'Allow',
    })
    .optional(),
});

export const serviceDependencyStatus = z.object({
  ...commonStatus,
  resolved: text(
    'How many entries of dependsOn refer to a host or to a Service port that exists, such as "2/2".',
    32,
  ).optional(),
  circuitReset: text(
    'Value of the annotation breakwater.dev/reset-circuit in the present plans: once programmed is complete, every sidecar has reset its circuits.',
    128,
  ).optional(),
});

/** Field names are the user's. Absent optional fields stay absent: compile applies defaults. */
export type ServiceDependencySpec = z.output<typeof serviceDependencySpec>;
export type ServiceDependencyEntry = ServiceDependencySpec['dependsOn'][number];
export type ServiceDependencyStatus = z.output<typeof serviceDependencyStatus>;

export interface ServiceDependency {
  kind: 'ServiceDependency';
  metadata: ObjectMeta;
  spec: ServiceDependencySpec;
  /** Absent where none was written yet, or where it does not fit the schema (an older or newer operator wrote it). */
  status?: ServiceDependencyStatus | undefined;
}
