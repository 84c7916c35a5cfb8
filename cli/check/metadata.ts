// What the API server demands of the metadata of every object, in its words: our schemas hold only what the operator reads of it. Pure.
import type { FieldProblem } from '../../crds/parse.ts';
import type { SchemaNode } from '../../crds/structural.ts';

const text: SchemaNode = { type: 'string' };
const texts: SchemaNode = { type: 'object', additionalProperties: text };
const anything: SchemaNode = { type: 'object' };

/** The fields of metav1.ObjectMeta. */
export const METADATA_SCHEMA: SchemaNode = {
  type: 'object',
  properties: {
    name: text,
    generateName: text,
    namespace: text,
    selfLink: text,
    uid: text,
    resourceVersion: text,
    generation: { type: 'integer' },
    creationTimestamp: text,
    deletionTimestamp: text,
    deletionGracePeriodSeconds: { type: 'integer' },
    labels: texts,
    annotations: texts,
    ownerReferences: { type: 'array', items: anything },
    finalizers: { type: 'array', items: text },
    managedFields: { type: 'array', items: anything },
  },
};

const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const QUALIFIED_NAME = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const MAX_ANNOTATIONS_BYTES = 256 * 1024;

const MESSAGES = {
  name: "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  namespace:
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  key: "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  prefix: `prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character`,
  value:
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
} as const;

/** Wrong types are left to the parser, which tells them. */
export function metadataProblems(metadata: unknown): FieldProblem[] {
  if (typeof metadata !== 'object' || metadata === null) return [];
  const { name, generateName, namespace, labels, annotations } = metadata as Record<string, unknown>;
  const problems: FieldProblem[] = [];
  const invalid = (path: string, value: string, message: string) =>
    problems.push({
      path: `metadata.${path}`,
      message: `Invalid value: ${JSON.stringify(value.slice(0, 128))}: ${message}`,
    });
  if (typeof name === 'string' && name !== '') {
    if (name.length > 253) invalid('name', name, 'must be no more than 253 characters');
    else if (!SUBDOMAIN.test(name)) invalid('name', name, MESSAGES.name);
  } else if (typeof generateName === 'string' && !SUBDOMAIN.test(generateName.replace(/[-.]$/, ''))) {
    invalid('generateName', generateName, MESSAGES.name);
  }
  if (typeof namespace === 'string' && namespace !== '') {
    if (namespace.length > 63) invalid('namespace', namespace, 'must be no more than 63 characters');
    else if (!LABEL.test(namespace)) invalid('namespace', namespace, MESSAGES.namespace);
  }
  for (const [key, value] of textsOf(labels)) {
    for (const message of keyProblems(key)) invalid('labels', key, message);
    if (value.length > 63) invalid('labels', value, 'must be no more than 63 characters');
    else if (!LABEL_VALUE.test(value)) invalid('labels', value, MESSAGES.value);
  }
  let bytes = 0;
  for (const [key, value] of textsOf(annotations)) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    for (const message of keyProblems(key.toLowerCase())) invalid('annotations', key, message);
  }
  if (bytes > MAX_ANNOTATIONS_BYTES) {
    const message = `Too long: may not be more than ${MAX_ANNOTATIONS_BYTES} bytes`;
    problems.push({ path: 'metadata.annotations', message });
  }
  return problems;
}

function textsOf(map: unknown): [string, string][] {
  if (typeof map !== 'object' || map === null) return [];
  return Object.entries(map).filter((entry): entry is [string, string] => typeof entry[1] === 'string');
}

function keyProblems(key: string): string[] {
  const parts = key.split('/');
  const [first = '', second] = parts;
  const problems: string[] = [];
  if (parts.length > 2) {
    return [
      "a valid label key must consist of alphanumeric characters, '-', '_' or '.', with an optional DNS subdomain prefix and '/'",
    ];
  }
  const name = second ?? first;
  if (second !== undefined && first === '') problems.push('prefix part must be non-empty');
  else if (second !== undefined && first.length > 253) problems.push('prefix part must be no more than 253 characters');
  else if (second !== undefined && !SUBDOMAIN.test(first)) problems.push(MESSAGES.prefix);
  if (name === '') problems.push('name part must be non-empty');
  else if (name.length > 63) problems.push('name part must be no more than 63 characters');
  else if (!QUALIFIED_NAME.test(name)) problems.push(MESSAGES.key);
  return problems;
}
