// ServiceDependency: whom the pods of one namespace depend on. Written by the team that calls.
import { z } from 'zod';
import { DOC_DEFAULT, DOC_TYPE, dnsLabel, mapList, text } from './fields.ts';
import { commonStatus, labelSelector, type ObjectMeta } from './kubernetes.ts';
import { withRules } from './rules.ts';

const portNumber = z.int().min(1).max(65_535);
const portName = z
  .string()
  .min(1)
  .max(15)
  .regex(/^[a-z0-9]+(-[a-z0-9]+)*$/);

const servicePort = withRules(
  z.union([portNumber, portName]).meta({
    'x-kubernetes-int-or-string': true,
    description: 'Port of the Service: its number or its name.',
    [DOC_TYPE]: 'integer or name',
  }),
  [
    {
      cel: "type(self) == int || !self.matches('^[0-9-]+$')",
      message:
        'a port written as text is the name of a Service port and has a letter; write a port number without quotes',
      holds: (port) => typeof port === 'number' || !/^[0-9-]+$/.test(port),
    },
  ],
);

const entry = z.object({
  name: dnsLabel(
    'Name of this dependency: unique in the object, used in metrics, answers and as sectionName of a policy.',
  ),
  service: z
    .object({
      name: dnsLabel('Name of the Service.'),
      namespace: dnsLabel('Namespace of the Service.')
        .meta({
          description: 'Namespace of the Service.',
          [DOC_TYPE]: 'DNS label',
          [DOC_DEFAULT]: 'the namespace of this object',
        })
        .optional(),
      port: servicePort,
    })
    .meta({ description: 'The Service that is called.' }),
  criticality: z
    .enum(['Required', 'Optional'])
    .meta({
      description:
        'Whether the consumer works without it. Shown in status and used by findings; never by readiness, and it changes no request.',
      [DOC_DEFAULT]: 'Required',
    })
    .optional(),
});

export const serviceDependencySpec = z.object({
  consumer: z
    .object({
      selector: labelSelector.meta({
        ...labelSelector.meta(),
        description: 'Selects the pods of this namespace that make the calls. The empty selector selects all of them.',
      }),
    })
    .meta({ description: 'Who calls.' }),
  dependsOn: mapList(entry.meta({ description: 'One dependency.' }), {
    description: 'Whom the consumer calls.',
    keys: ['name'],
    min: 1,
    max: 64,
  }),
});

export const serviceDependencyStatus = z.object({
  ...commonStatus,
  resolved: text('How many entries of dependsOn refer to a Service port that exists, such as "2/2".', 32).optional(),
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
