// The only list of our kinds. What is generated, parsed, documented and tested walks it.
import type { z } from 'zod';
import { resiliencePolicySpec, resiliencePolicyStatus } from './resilience-policy.ts';
import { serviceDependencySpec, serviceDependencyStatus } from './service-dependency.ts';

export interface PrinterColumn {
  name: string;
  type: 'string' | 'date';
  /** Simple JSONPath, from the root of the object. */
  jsonPath: string;
  description: string;
  /** Above zero: shown by `-o wide` only. */
  priority?: number;
}

export interface Kind {
  kind: 'ServiceDependency' | 'ResiliencePolicy';
  plural: string;
  singular: string;
  shortNames: readonly string[];
  /** `kubectl get breakwater` lists all of our kinds. Not in `all`: that is for what runs, not for what configures. */
  categories: readonly string[];
  description: string;
  spec: z.ZodObject;
  status: z.ZodObject;
  columns: readonly PrinterColumn[];
}

const columns = (resolved: string): PrinterColumn[] => [
  {
    name: 'Ready',
    type: 'string',
    jsonPath: '.status.conditions[?(@.type=="Ready")].status',
    description: 'Whether it is valid, resolved and applied by all sidecars concerned.',
  },
  { name: 'Summary', type: 'string', jsonPath: '.status.summary', description: 'All of it in one line.' },
  { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp', description: 'Time since it was created.' },
  // The parts of the summary, for scripts and for eyes that look for one of them.
  { name: 'Resolved', type: 'string', jsonPath: '.status.resolved', description: resolved, priority: 1 },
  {
    name: 'Programmed',
    type: 'string',
    jsonPath: '.status.programmed',
    description: 'How many of the sidecars concerned apply it.',
    priority: 1,
  },
  {
    name: 'Circuits',
    type: 'string',
    jsonPath: '.status.openCircuits',
    description: 'Circuits that are not closed, and in how many sidecars.',
    priority: 1,
  },
];

export const kinds: readonly Kind[] = [
  {
    kind: 'ServiceDependency',
    plural: 'servicedependencies',
    singular: 'servicedependency',
    shortNames: ['sdep'],
    categories: ['breakwater'],
    description:
      'A ServiceDependency declares which services the pods of a namespace call. It is written by the calling team.',
    spec: serviceDependencySpec.meta({ description: 'Which pods call which dependencies.' }),
    status: serviceDependencyStatus.meta({ description: 'Observed state; written by the operator.' }),
    columns: columns('How many of its dependencies exist.'),
  },
  {
    kind: 'ResiliencePolicy',
    plural: 'resiliencepolicies',
    singular: 'resiliencepolicy',
    shortNames: ['rpol'],
    categories: ['breakwater'],
    description:
      'A ResiliencePolicy defines how failures of its targets are handled. An absent block does not act; an empty block acts with its defaults, which are applied after the policies of all targets have merged.',
    spec: resiliencePolicySpec.meta({ description: 'The targets of the policy, and what it does.' }),
    status: resiliencePolicyStatus.meta({ description: 'Observed state; written by the operator.' }),
    columns: columns('How many of its targets exist.'),
  },
];
