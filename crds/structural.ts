// zod → the structural OpenAPI v3 schema that Kubernetes wants. What Kubernetes forbids, and what we forbid ourselves, ends the generation
// with an error that names the field: a schema that is refused at `kubectl apply`, or that costs too much CEL, must not be committed.
//
// Ours on top of Kubernetes': every field is described; every text, list, map and number is bounded; every list says how it merges; no
// `default:` (it would be written into the narrower object and override the wider one); no name or value that YAML 1.1 reads as a boolean.
import { z } from 'zod';
import { DOC_DEFAULT, DOC_RANGE, DOC_TYPE } from './fields.ts';
import { OWN_GROUP, OWN_VERSION, UNSEEN_STATUS } from './kubernetes.ts';
import type { Kind } from './registry.ts';
import { VALIDATIONS, type ValidationRule } from './rules.ts';

/** One node of a schema, as zod writes it: with our documentation keys in it. */
export interface SchemaNode {
  type?: string;
  description?: string;
  properties?: Record<string, SchemaNode>;
  required?: string[];
  items?: SchemaNode;
  additionalProperties?: SchemaNode | boolean;
  enum?: unknown[];
  anyOf?: SchemaNode[];
  pattern?: string;
  [DOC_DEFAULT]?: string;
  [DOC_RANGE]?: string;
  [DOC_TYPE]?: string;
  [keyword: string]: unknown;
}

/** A schema that may not be committed: which field, and why. */
export class SchemaError extends Error {
  override name = 'SchemaError';
}

/** What zod makes of a schema, in OpenAPI v3 and on the side of what users write; with documentation keys, unchecked. */
export function rawSchema(schema: z.ZodType): SchemaNode {
  return z.toJSONSchema(schema, { target: 'openapi-3.0', io: 'input', reused: 'inline' }) as SchemaNode;
}

/** Throws SchemaError. */
export function structuralSchema(schema: z.ZodType, path: string): SchemaNode {
  return structural(rawSchema(schema), path);
}

/** The CustomResourceDefinition of a kind, as a plain object. Throws SchemaError. */
export function customResourceDefinition(kind: Kind): Record<string, unknown> {
  const schema = {
    description: kind.description,
    type: 'object',
    properties: {
      apiVersion: { type: 'string', description: `${OWN_GROUP}/${OWN_VERSION}` },
      kind: { type: 'string', description: kind.kind },
      metadata: { type: 'object' },
      spec: structuralSchema(kind.spec, 'spec'),
      // The one default in a schema: a status merges with nothing, and without it what waits for Ready took a new object for done.
      status: { ...structuralSchema(kind.status, 'status'), default: UNSEEN_STATUS },
    },
    required: ['spec'],
  };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${kind.plural}.${OWN_GROUP}`,
      // Removing a definition removes every object of its kind: a helm uninstall leaves it.
      annotations: { 'helm.sh/resource-policy': 'keep' },
      labels: { 'app.kubernetes.io/name': 'breakwater', 'app.kubernetes.io/part-of': 'breakwater' },
    },
    spec: {
      group: OWN_GROUP,
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        shortNames: [...kind.shortNames],
        categories: [...kind.categories],
      },
      scope: 'Namespaced',
      versions: [
        {
          name: OWN_VERSION,
          served: true,
          storage: true,
          additionalPrinterColumns: kind.columns.map((column) => ({ ...column })),
          schema: { openAPIV3Schema: schema },
          subresources: { status: {} },
        },
      ],
    },
  };
}

const KNOWN_KEYWORDS = new Set(
  [
    'type description format properties required items additionalProperties enum anyOf pattern',
    'minimum maximum minLength maxLength minItems maxItems minProperties maxProperties',
    'x-kubernetes-list-type x-kubernetes-list-map-keys x-kubernetes-map-type x-kubernetes-int-or-string x-kubernetes-validations',
    `${DOC_DEFAULT} ${DOC_RANGE} ${DOC_TYPE}`,
  ].flatMap((line) => line.split(' ')),
);

const INT_OR_STRING = 'x-kubernetes-int-or-string';

function structural(node: SchemaNode, path: string): SchemaNode {
  const unknown = Object.keys(node).find((keyword) => !KNOWN_KEYWORDS.has(keyword));
  if (unknown !== undefined) throw new SchemaError(`${path}: "${unknown}" is not allowed here`);
  if (!node.description) throw new SchemaError(`${path}: needs a description`);
  if (node.anyOf && node[INT_OR_STRING] !== true)
    throw new SchemaError(`${path}: a union is not structural; use optional fields and a rule`);
  if (!node.type && node[INT_OR_STRING] !== true) throw new SchemaError(`${path}: needs a type`);

  const own: SchemaNode = { ...withoutDocumentation(node), description: describe(node) };
  if (own.pattern !== undefined) own.pattern = own.pattern.replaceAll('\\/', '/');
  if (node[INT_OR_STRING] === true) return intOrString(own, path);
  switch (node.type) {
    case 'object':
      return object(own, path);
    case 'array':
      return array(own, path);
    case 'string':
      return text(own, path);
    case 'integer':
      return integer(own, path);
    case 'boolean':
      return own;
    case undefined:
    default:
      throw new SchemaError(`${path}: type ${node.type} is not allowed; numbers are whole`);
  }
}

function object(node: SchemaNode, path: string): SchemaNode {
  const { properties, additionalProperties } = node;
  if (properties && additionalProperties !== undefined) {
    throw new SchemaError(
      `${path}: additionalProperties beside properties is not structural; the API server drops unknown fields by itself`,
    );
  }
  if (additionalProperties !== undefined) {
    if (typeof additionalProperties === 'boolean')
      throw new SchemaError(`${path}: a map needs a schema for its values`);
    if (typeof node['maxProperties'] !== 'number') throw new SchemaError(`${path}: a map needs maxProperties`);
    return { ...node, additionalProperties: structural(additionalProperties, `${path}.*`) };
  }
  if (!properties) throw new SchemaError(`${path}: an object needs properties`);
  for (const { fieldPath } of rulesOf(node)) {
    if (fieldPath && !(fieldPath.slice(1) in properties))
      throw new SchemaError(`${path}: a rule speaks of ${fieldPath}, which is not there`);
  }
  const entries = Object.entries(properties).map(([name, child]) => {
    if (!/^[a-z][A-Za-z0-9]*$/.test(name) || isYamlBoolean(name))
      throw new SchemaError(`${path}.${name}: not a name for a field`);
    return [name, structural(child, `${path}.${name}`)] as const;
  });
  return { ...node, properties: Object.fromEntries(entries) };
}

function array(node: SchemaNode, path: string): SchemaNode {
  const { items } = node;
  if (!items) throw new SchemaError(`${path}: a list needs items`);
  if (typeof node['maxItems'] !== 'number') throw new SchemaError(`${path}: a list needs maxItems`);
  const keys = (node['x-kubernetes-list-map-keys'] ?? []) as string[];
  switch (node['x-kubernetes-list-type']) {
    case 'atomic':
      break;
    case 'set':
      // The API server accepts a definition with a set of atomic objects, and then fails every server-side apply of its objects.
      if (items.type === 'array' || items.type === 'object') throw new SchemaError(`${path}: a set holds plain values`);
      break;
    case 'map':
      if (keys.length === 0) throw new SchemaError(`${path}: a list of type map needs keys`);
      for (const key of keys) {
        const type = items.properties?.[key]?.type;
        if (type !== 'string' && type !== 'integer')
          throw new SchemaError(`${path}: key ${key} is no plain field of its items`);
        if (!items.required?.includes(key)) throw new SchemaError(`${path}: key ${key} is not required in its items`);
      }
      break;
    default:
      throw new SchemaError(`${path}: a list needs x-kubernetes-list-type`);
  }
  return { ...node, items: structural(items, `${path}[]`) };
}

function text(node: SchemaNode, path: string): SchemaNode {
  if (node.enum) {
    for (const value of node.enum) {
      if (typeof value !== 'string') throw new SchemaError(`${path}: enums hold text`);
      // A condition's status is Kubernetes' own word, and only the operator writes it.
      if (isYamlBoolean(value) && !path.endsWith('.conditions[].status'))
        throw new SchemaError(`${path}: YAML 1.1 reads ${value} as a boolean`);
    }
    return node;
  }
  if (typeof node['maxLength'] !== 'number') throw new SchemaError(`${path}: a text needs maxLength`);
  return node;
}

function integer(node: SchemaNode, path: string): SchemaNode {
  const { minimum, maximum, ...rest } = node;
  if (typeof minimum !== 'number' || minimum === Number.MIN_SAFE_INTEGER || typeof maximum !== 'number') {
    throw new SchemaError(`${path}: a number needs minimum and maximum`);
  }
  // Generations are int64, and no bound that a float64 holds is right for them.
  if (maximum === Number.MAX_SAFE_INTEGER) return { ...rest, format: 'int64', minimum };
  return { ...rest, format: 'int32', minimum, maximum };
}

/** Bounds of both sides move beside the marker, where each holds for values of its own type only. */
function intOrString(node: SchemaNode, path: string): SchemaNode {
  const { anyOf, ...rest } = node;
  const number = anyOf?.find((side) => side.type === 'integer');
  const string = anyOf?.find((side) => side.type === 'string');
  if (!number || !string || anyOf?.length !== 2)
    throw new SchemaError(`${path}: int-or-string is a union of an integer and a string`);
  const { type: _number, ...numberBounds } = number;
  const { type: _string, ...stringBounds } = string;
  if (typeof numberBounds['maximum'] !== 'number' || typeof stringBounds['maxLength'] !== 'number') {
    throw new SchemaError(`${path}: both sides of int-or-string need bounds`);
  }
  return { ...rest, ...numberBounds, ...stringBounds, anyOf: [{ type: 'integer' }, { type: 'string' }] };
}

function rulesOf(node: SchemaNode): readonly ValidationRule[] {
  return (node[VALIDATIONS] ?? []) as ValidationRule[];
}

function withoutDocumentation(node: SchemaNode): SchemaNode {
  const { [DOC_DEFAULT]: _default, [DOC_RANGE]: _range, [DOC_TYPE]: _type, ...rest } = node;
  return rest;
}

/** The description that `kubectl explain` prints: with the default, and the range where the schema cannot show it. */
function describe(node: SchemaNode): string {
  const parts = [node.description];
  if (node[DOC_RANGE] !== undefined) parts.push(`Range: ${node[DOC_RANGE]}.`);
  if (node[DOC_DEFAULT] !== undefined) parts.push(`Default: ${node[DOC_DEFAULT]}.`);
  return parts.join(' ');
}

/** What a YAML 1.1 reader, such as those of kubectl and helm, takes for true or false. */
export function isYamlBoolean(word: string): boolean {
  return /^(y|n|yes|no|on|off|true|false)$/i.test(word);
}
