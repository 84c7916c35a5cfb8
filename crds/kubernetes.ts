// What our kinds share with every Kubernetes object: metadata, label selectors, conditions, references to targets.
import { z } from 'zod';
import { dnsLabel, dnsSubdomain, integer, listMeta, mapList, text } from './fields.ts';
import { tooMany } from './messages.ts';
import { formRule, withRules } from './rules.ts';

/**
 * The metadata that we read. Objects from the API server have all of it; for those from files the defaults here stand, which are older
 * than any real object.
 */
export const objectMeta = z.object({
  name: z.string().min(1).max(253),
  namespace: z.string().min(1).max(63).default('default'),
  uid: z.string().max(128).default(''),
  generation: z.int().min(0).default(1),
  creationTimestamp: z.string().max(64).default('1970-01-01T00:00:00Z'),
  labels: z
    .record(z.string(), z.string())
    .nullish()
    .transform((labels): Readonly<Record<string, string>> => labels ?? {}),
  annotations: z
    .record(z.string(), z.string())
    .nullish()
    .transform((annotations): Readonly<Record<string, string>> => annotations ?? {}),
});
/** `namespace`: "default" where a file names none. `creationTimestamp`: RFC 3339 in UTC, so that text order is time order. */
export type ObjectMeta = z.output<typeof objectMeta>;

const LABEL_KEY = '^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$';
const LABEL_KEY_FORM =
  'up to 63 letters, digits, "-", "_" or ".", with a letter or digit at both ends, and perhaps a DNS name and "/" before, such as app.kubernetes.io/name';
const labelKey = new RegExp(LABEL_KEY);

function labelValue(description: string) {
  return withRules(z.string().max(63, { abort: true }).meta({ description }), [
    formRule(
      '^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$',
      'write a label value of letters, digits, "-", "_" and ".", with a letter or digit at both ends; put a number, true or false in quotes',
    ),
  ]);
}

const labelRequirement = withRules(
  z.object({
    key: withRules(z.string().max(317, { abort: true }).meta({ description: 'Label key.' }), [
      formRule(LABEL_KEY, `write a label key: ${LABEL_KEY_FORM}`),
    ]),
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).meta({
      description:
        'How the label relates to the values: In, NotIn (also true where the label is absent), Exists or DoesNotExist.',
    }),
    values: z
      .array(labelValue('A label value.'))
      .max(64)
      .meta(listMeta('Values for In and NotIn, at least one; none for Exists and DoesNotExist.', { type: 'atomic' }))
      .optional(),
  }),
  [
    {
      cel: "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
      message: 'operators In and NotIn need at least one value; add values, or use Exists or DoesNotExist',
      fieldPath: '.values',
      holds: (it) => !(it.operator === 'In' || it.operator === 'NotIn') || (it.values?.length ?? 0) > 0,
    },
    {
      cel: "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",
      message: 'operators Exists and DoesNotExist take no values; remove them, or use In or NotIn',
      fieldPath: '.values',
      holds: (it) => !(it.operator === 'Exists' || it.operator === 'DoesNotExist') || (it.values?.length ?? 0) === 0,
    },
  ],
);

const MAX_LABELS = 64;

const matchLabels = withRules(
  z
    .record(z.string(), labelValue('The value that the label must have.'))
    .superRefine((labels, context) => {
      const count = Object.keys(labels).length;
      if (count > MAX_LABELS) context.addIssue({ code: 'custom', message: tooMany(count, MAX_LABELS) });
    })
    .meta({ maxProperties: MAX_LABELS, description: 'Labels that a pod must have, each with exactly this value.' }),
  [
    {
      cel: `self.all(key, key.matches('${LABEL_KEY}'))`,
      message: `every key must be a label key; write ${LABEL_KEY_FORM}`,
      culprit: (labels) =>
        Object.keys(labels)
          .filter((key) => !labelKey.test(key))
          .map((key) => JSON.stringify(key))
          .join(', '),
      holds: (labels) => Object.keys(labels).every((key) => labelKey.test(key)),
    },
  ],
);

/** Kubernetes' label selector. All parts must hold; the empty selector selects everything. */
export const labelSelector = z
  .object({
    matchLabels: matchLabels.optional(),
    matchExpressions: z
      .array(
        labelRequirement.meta({ ...labelRequirement.meta(), description: 'One requirement on the labels of a pod.' }),
      )
      .max(32)
      .meta(listMeta('Requirements on labels; all of them must hold.', { type: 'atomic' }))
      .optional(),
  })
  .meta({ 'x-kubernetes-map-type': 'atomic' });
export type LabelSelector = z.output<typeof labelSelector>;

/** A condition as in every Kubernetes API (metav1.Condition). */
export const condition = z.object({
  type: z
    .string()
    .min(1)
    .max(316)
    .regex(/^[A-Za-z][A-Za-z0-9]*$/)
    .meta({ description: 'Accepted, ResolvedRefs, Programmed or Ready; Stalled is present only while it is True.' }),
  status: z.enum(['True', 'False', 'Unknown']).meta({ description: 'Whether the condition holds.' }),
  observedGeneration: integer({
    description: 'The generation of the object that this condition describes.',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
  }).optional(),
  lastTransitionTime: z
    .string()
    .max(64)
    .meta({ description: 'When the status last changed, RFC 3339.', format: 'date-time' }),
  reason: z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/)
    .meta({ description: 'The reason as one CamelCase word, for programs.' }),
  message: text('The reason for people, and what to change.', 32_768),
});
export type Condition = z.output<typeof condition>;

/** Ready sums the three before it up. Stalled is for kstatus: no time mends it, only another spec. */
export const CONDITION_TYPES = ['Accepted', 'ResolvedRefs', 'Programmed', 'Ready', 'Stalled'] as const;
export type ConditionType = (typeof CONDITION_TYPES)[number];

const time = (description: string) => z.string().max(64).meta({ description, format: 'date-time' });

const circuit = z.object({
  dependency: text(
    'Which dependency: the name of the entry; "<namespace>/<ServiceDependency>/<entry>" in the status of a policy.',
    768,
  ),
  rule: text(
    'Rule that the circuit belongs to, or base; "<namespace>/<policy>/<rule>" where several policies name one.',
    512,
  ),
  state: z.enum(['Open', 'HalfOpen', 'ForcedOpen', 'ForcedClosed']).meta({
    description:
      'Open: every call is refused. HalfOpen: a few probes pass. ForcedOpen, ForcedClosed: held by `circuitBreaker.force`; every call is refused, or every call passes.',
  }),
  sidecars: integer({ description: 'In how many sidecars.', min: 1, max: 1_000_000 }),
  totalSidecars: integer({
    description: 'Number of sidecars that have this circuit.',
    min: 0,
    max: 1_000_000,
  }).optional(),
  since: time('When the first of them entered this state, RFC 3339.').optional(),
  failingSince: time(
    'When the first of them opened it after it was closed, RFC 3339; it may have been half-open and reopened since.',
  ).optional(),
  reason: text('Why it opened in most of them: "5 consecutive failures (last: ConnectFailure)".', 256).optional(),
  nextProbe: time('When the first of them lets probes through, RFC 3339; only while it is open.').optional(),
  reopenings: integer({
    description:
      'How often it reopened after failed probes since it was last closed; the highest count of any sidecar.',
    min: 0,
    max: 1_000_000_000,
  }).optional(),
});

const excludedEndpoints = z.object({
  dependency: text(
    'Which dependency: the name of the entry; "<namespace>/<ServiceDependency>/<entry>" in the status of a policy.',
    768,
  ),
  rule: text(
    'Rule that the block belongs to, or base; "<namespace>/<policy>/<rule>" where several policies name one.',
    512,
  ),
  state: z.enum(['Ejected', 'Unhealthy']).meta({
    description:
      'Ejected: by outlierDetection, for a limited time. Unhealthy: by healthCheck, until they pass it again.',
  }),
  endpoints: integer({
    description: 'How many endpoints are out, in the sidecar with the most out.',
    min: 1,
    max: 1_000_000,
  }),
  totalEndpoints: integer({ description: 'How many endpoints that sidecar knows.', min: 1, max: 1_000_000 }),
  sidecars: integer({ description: 'In how many sidecars any endpoint is out.', min: 1, max: 1_000_000 }),
  totalSidecars: integer({ description: 'Number of sidecars that have this block.', min: 1, max: 1_000_000 }),
  panickingSidecars: integer({
    description: 'How many of these use all endpoints nevertheless, because too few are left; absent if none does.',
    min: 1,
    max: 1_000_000,
  }).optional(),
  since: time('When the first of the endpoints that are out now went out, RFC 3339.').optional(),
  names: mapList(
    z
      .object({
        endpoint: text('ADDRESS:PORT.', 64),
        sidecars: integer({ description: 'How many sidecars name it.', min: 1, max: 1_000_000 }),
        reason: text('Why it is out, in most of them.', 256),
      })
      .meta({ description: 'One endpoint.' }),
    { description: 'Some of these endpoints, most reported first.', keys: ['endpoint'], max: 3 },
  ).optional(),
});

const opaqueDependency = z.object({
  dependency: text(
    'Which dependency: the name of the entry; "<namespace>/<ServiceDependency>/<entry>" in the status of a policy.',
    768,
  ),
  port: integer({ description: 'Its port.', min: 1, max: 65_535 }),
  protocol: z.enum(['Tls', 'ServerFirst', 'Opaque']).meta({
    description:
      'What was detected on its connections. Tls: they begin with a TLS handshake. ServerFirst: the server sends first. Opaque: any other protocol that is not HTTP, or nothing yet.',
  }),
  declared: z
    .boolean()
    .meta({ description: 'True if its port declares the protocol, so that no detection takes place.' }),
  sidecars: integer({ description: 'In how many sidecars it was found.', min: 1, max: 1_000_000 }).optional(),
  totalSidecars: integer({
    description: 'Number of sidecars that have this dependency.',
    min: 1,
    max: 1_000_000,
  }).optional(),
  alsoHttp: z
    .boolean()
    .meta({ description: 'True if other connections speak HTTP, on which every policy acts.' })
    .optional(),
});

/** What the status of both kinds tells. The texts are what `kubectl get` prints. */
export const commonStatus = {
  observedGeneration: integer({
    description: 'The generation of the object that this status describes.',
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
  }).optional(),
  conditions: mapList(condition.meta({ description: 'One condition.' }), {
    description:
      'Accepted: valid and in effect. ResolvedRefs: everything referred to exists. Programmed: the sidecars concerned apply it. Ready: all of these; an open circuit does not change it. Stalled: the spec must be changed.',
    keys: ['type'],
    max: 16,
  }).optional(),
  summary: text('The whole status in one line.', 1024).optional(),
  programmed: text('How many of the sidecars concerned apply this generation, such as "12/12".', 32).optional(),
  openCircuits: text(
    'Circuits that are not closed, such as "payments Open in 2 of 12"; empty where all are closed.',
    1024,
  ).optional(),
  circuits: mapList(circuit.meta({ description: 'One circuit that is not closed in some sidecars.' }), {
    description:
      'Circuits that are not closed: since when, in how many sidecars, why, and when they are probed next. Changes of circuits alone are written a few times at once, then at most every ten seconds.',
    keys: ['dependency', 'rule', 'state'],
    max: 256,
  }).optional(),
  shadowCircuits: mapList(circuit.meta({ description: 'One circuit that would not be closed in some sidecars.' }), {
    description:
      'Circuits with mode: Shadow that would not be closed, in the same form. They refuse no call. Updated as often as circuits.',
    keys: ['dependency', 'rule', 'state'],
    max: 256,
  }).optional(),
  opaqueDependencies: mapList(
    opaqueDependency.meta({ description: 'One dependency whose connections are not HTTP.' }),
    {
      description:
        'Dependencies on which only connection policies act, because their bytes are not HTTP: as declared by their port, or as detected by sidecars.',
      keys: ['dependency'],
      max: 64,
    },
  ).optional(),
  excludedEndpoints: mapList(
    excludedEndpoints.meta({ description: 'Endpoints of one dependency that get no calls in some sidecars.' }),
    {
      description:
        'Endpoints that are ejected or unhealthy: how many, in how many sidecars, since when, and some by name. Updated as often as circuits.',
      keys: ['dependency', 'rule', 'state'],
      max: 64,
    },
  ).optional(),
  shadowExcludedEndpoints: mapList(
    excludedEndpoints.meta({ description: 'Endpoints of one dependency that would get no calls in some sidecars.' }),
    {
      description:
        'Endpoints that outlierDetection would eject, or healthCheck would find unhealthy, with mode: Shadow, in the same form. They are still used. Updated as often as circuits.',
      keys: ['dependency', 'rule', 'state'],
      max: 64,
    },
  ).optional(),
};

/**
 * What an object says before the operator has seen it. kstatus (helm, Flux) takes an object without a Ready condition for done, and one
 * whose observedGeneration is behind for one in progress.
 */
export const UNSEEN_STATUS = {
  observedGeneration: 0,
  conditions: [
    {
      type: 'Ready',
      status: 'Unknown',
      observedGeneration: 0,
      lastTransitionTime: '1970-01-01T00:00:00Z',
      reason: 'Pending',
      message: 'the operator has not looked at it yet; where that lasts, see whether the operator of Breakwater runs',
    },
  ],
  summary: 'waiting for the operator',
} as const;

export const OWN_GROUP = 'breakwater.dev';
export const OWN_VERSION = 'v1alpha1';

/** Group of each kind that a policy may act on. */
const TARGET_GROUPS = { Service: '', Namespace: '', ServiceDependency: OWN_GROUP, Platform: OWN_GROUP } as const;
/** There is one platform, and this is its name. */
export const PLATFORM_NAME = 'default';

/** What a policy acts on, as in Gateway API policies: an object in the namespace of the policy, that namespace itself, or the platform. */
export const targetReference = withRules(
  z.object({
    group: z.enum(['', OWN_GROUP]).meta({
      description: `API group of the target: "" for a Service and a Namespace, ${OWN_GROUP} for a ServiceDependency and the Platform.`,
    }),
    kind: z.enum(['Service', 'Namespace', 'ServiceDependency', 'Platform']).meta({
      description:
        "Kind of the target. Service: calls to it, by every caller that declares them. Namespace: calls made in it; only the policy's own. ServiceDependency: calls of its consumers, or those to one entry. Platform: every declared call in the cluster; only in the operator's namespace.",
    }),
    name: dnsSubdomain(`Name of the target; that of the Platform is ${PLATFORM_NAME}.`),
    sectionName: dnsLabel('Name of one entry in dependsOn of the ServiceDependency; all entries if absent.').optional(),
  }),
  [
    {
      cel: `self.group == (self.kind == 'Service' || self.kind == 'Namespace' ? '' : '${OWN_GROUP}')`,
      message: `group and kind do not belong together: write group "" for a Service or a Namespace, group ${OWN_GROUP} for a ServiceDependency or the Platform`,
      holds: (it) => it.group === TARGET_GROUPS[it.kind],
    },
    {
      cel: `self.kind != 'Platform' || self.name == '${PLATFORM_NAME}'`,
      message: `there is one platform: write name: ${PLATFORM_NAME}`,
      fieldPath: '.name',
      holds: (it) => it.kind !== 'Platform' || it.name === PLATFORM_NAME,
    },
    {
      cel: "!has(self.sectionName) || self.kind == 'ServiceDependency'",
      message: 'sectionName names an entry of a ServiceDependency; remove it, or target the ServiceDependency',
      fieldPath: '.sectionName',
      holds: (it) => it.sectionName === undefined || it.kind === 'ServiceDependency',
    },
  ],
);
export type TargetReference = z.output<typeof targetReference>;
