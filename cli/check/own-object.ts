// One object by itself: is it one of ours, and does it say what the API server takes? Pure.
import { OWN_GROUP, OWN_VERSION } from '../../crds/kubernetes.ts';
import { type FieldProblem, parseResiliencePolicy, parseServiceDependency } from '../../crds/parse.ts';
import { type Kind, kinds } from '../../crds/registry.ts';
import { rawSchema, type SchemaNode } from '../../crds/structural.ts';
import { METADATA_SCHEMA, metadataProblems } from './metadata.ts';
import { nearest, suggestion } from './similar.ts';
import { unknownFields } from './unknown-fields.ts';

export interface ObjectProblem {
  reason: 'NoObject' | 'UnknownKind' | 'UnknownField' | 'Invalid';
  /** Empty for the object as a whole. */
  field: string;
  /** Which part of the text to point at. */
  what: 'name' | 'value';
  message: string;
}

export type Identity =
  | { is: 'own'; kind: Kind }
  | { is: 'other' }
  /** Meant to be ours, or nothing at all. */
  | { is: 'mistaken'; problem: ObjectProblem };

const OWN_API_VERSION = `${OWN_GROUP}/${OWN_VERSION}`;
const OWN_KINDS = kinds.map(({ kind }) => kind);

export function identify(raw: Record<string, unknown>): Identity {
  const { apiVersion, kind } = raw;
  for (const [field, value] of Object.entries({ apiVersion, kind })) {
    if (typeof value === 'string' && value !== '') continue;
    const wrong = value === undefined || value === null || value === '' ? 'has no' : 'has no readable';
    const message = `this ${wrong} ${field}, which every Kubernetes object has; add it, or name other files`;
    return mistaken('NoObject', field, message);
  }
  const version = String(apiVersion);
  const name = String(kind);
  if (version === OWN_API_VERSION) {
    const own = kinds.find((one) => one.kind === name);
    if (own !== undefined) return { is: 'own', kind: own };
    const all = `its kinds are ${OWN_KINDS.join(' and ')}`;
    return mistaken(
      'UnknownKind',
      'kind',
      `${version} has no kind ${name}${suggestion(name, OWN_KINDS) || `; ${all}`}`,
    );
  }
  if (!isMeantAsOurs(version, name)) return { is: 'other' };
  const meant = `there is no ${version} with kind ${name}; did you mean apiVersion: ${OWN_API_VERSION}`;
  const kindMeant = OWN_KINDS.find((one) => one === name) ?? nearest(name, OWN_KINDS);
  const kindToo = kindMeant === undefined || kindMeant === name ? '' : ` and kind: ${kindMeant}`;
  return mistaken('UnknownKind', 'apiVersion', `${meant}${kindToo}?`);
}

/** A version of our group that is not there, a group that is nearly ours, or one of our kinds without any group. */
function isMeantAsOurs(apiVersion: string, kind: string): boolean {
  const [group = '', version] = apiVersion.split('/');
  const isOwnKind = OWN_KINDS.some((one) => one === kind);
  if (version === undefined) return isOwnKind || nearest(apiVersion, [OWN_API_VERSION]) !== undefined;
  if (group === OWN_GROUP) return true;
  const isNear = nearest(group, [OWN_GROUP]) !== undefined || group.startsWith(OWN_GROUP.split('.')[0] ?? '');
  return isNear && (isOwnKind || nearest(kind, OWN_KINDS) !== undefined);
}

function mistaken(reason: ObjectProblem['reason'], field: string, message: string): Identity {
  return { is: 'mistaken', problem: { reason, field, what: 'value', message } };
}

const PARSERS = { ServiceDependency: parseServiceDependency, ResiliencePolicy: parseResiliencePolicy } as const;

/** Everything that the API server would refuse in an object of ours, all at once. */
export function ownProblems(raw: Record<string, unknown>, kind: Kind): ObjectProblem[] {
  const unknown = unknownFields(raw, objectSchema(kind), '').map(
    ({ path, hint }): ObjectProblem => ({
      reason: 'UnknownField',
      field: path,
      what: 'name',
      message: `unknown field "${path}"; ${hint}`,
    }),
  );
  const result = PARSERS[kind.kind](raw);
  const invalid = [...(result.ok ? [] : result.problems), ...metadataProblems(raw['metadata'])];
  return [...unknown, ...invalid.filter((problem) => !isToleratedName(problem, raw)).map(toProblem)];
}

/** An object may leave its name to the API server. */
function isToleratedName({ path }: FieldProblem, raw: Record<string, unknown>): boolean {
  const metadata = raw['metadata'] as { name?: unknown; generateName?: unknown } | null | undefined;
  return path === 'metadata.name' && metadata?.name === undefined && typeof metadata?.generateName === 'string';
}

function toProblem({ path, message }: FieldProblem): ObjectProblem {
  return { reason: 'Invalid', field: path, what: 'value', message };
}

const schemas = new Map<string, SchemaNode>();

function objectSchema(kind: Kind): SchemaNode {
  let schema = schemas.get(kind.kind);
  if (schema === undefined) {
    const word: SchemaNode = { type: 'string' };
    const properties = {
      apiVersion: word,
      kind: word,
      metadata: METADATA_SCHEMA,
      spec: rawSchema(kind.spec),
      status: rawSchema(kind.status),
    };
    schema = { type: 'object', properties };
    schemas.set(kind.kind, schema);
  }
  return schema;
}
