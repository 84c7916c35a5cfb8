// unknown → model or problems. Never throws, ignores fields it does not know (versions may differ), and lets no problem of `status`, which
// is ours, keep a user's object from being read.
import { z } from 'zod';
import { OWN_GROUP, OWN_VERSION, objectMeta } from './kubernetes.ts';
import { apiServerMessage } from './messages.ts';
import { type ResiliencePolicy, resiliencePolicySpec, resiliencePolicyStatus } from './resilience-policy.ts';
import { type ServiceDependency, serviceDependencySpec, serviceDependencyStatus } from './service-dependency.ts';

export interface FieldProblem {
  /** As the API server writes it: "spec.dependsOn[0].service.port"; empty for the object as a whole. */
  path: string;
  message: string;
}

export type ParseResult<Model> = { ok: true; model: Model } | { ok: false; problems: readonly FieldProblem[] };

const apiVersion = z.literal(`${OWN_GROUP}/${OWN_VERSION}`);
const serviceDependency = z.object({
  apiVersion,
  kind: z.literal('ServiceDependency'),
  metadata: objectMeta,
  spec: serviceDependencySpec,
});
const resiliencePolicy = z.object({
  apiVersion,
  kind: z.literal('ResiliencePolicy'),
  metadata: objectMeta,
  spec: resiliencePolicySpec,
});

export function parseServiceDependency(value: unknown): ParseResult<ServiceDependency> {
  const result = parse(serviceDependency, value);
  if (!result.ok) return result;
  const { kind, metadata, spec } = result.model;
  return { ok: true, model: { kind, metadata, spec, status: readStatus(serviceDependencyStatus, value) } };
}

export function parseResiliencePolicy(value: unknown): ParseResult<ResiliencePolicy> {
  const result = parse(resiliencePolicy, value);
  if (!result.ok) return result;
  const { kind, metadata, spec } = result.model;
  return { ok: true, model: { kind, metadata, spec, status: readStatus(resiliencePolicyStatus, value) } };
}

/** Nesting beyond this is no object of ours, and would exhaust the stack. The schemas are 8 deep. */
const MAX_DEPTH = 64;

function parse<S extends z.ZodObject>(schema: S, value: unknown): ParseResult<z.output<S>> {
  if (deeperThan(value, MAX_DEPTH))
    return { ok: false, problems: [{ path: '', message: `is nested more than ${MAX_DEPTH} levels deep` }] };
  const result = schema.safeParse(withoutNulls(value), { error: apiServerMessage });
  if (result.success) return { ok: true, model: result.data };
  return { ok: false, problems: withoutConsequences(result.error.issues).map(fieldProblem) };
}

/** What has the wrong type has no length and no range either, whatever else is said of it. */
function withoutConsequences(issues: readonly z.core.$ZodIssue[]): readonly z.core.$ZodIssue[] {
  const place = ({ path }: z.core.$ZodIssue) => JSON.stringify(path);
  const mistyped = new Set(issues.filter(({ code }) => code === 'invalid_type').map(place));
  return issues.filter((issue) => issue.code === 'invalid_type' || !mistyped.has(place(issue)));
}

function readStatus<S extends z.ZodType>(schema: S, value: unknown): z.output<S> | undefined {
  const result = schema.safeParse(withoutNulls((value as { status?: unknown }).status));
  return result.success ? result.data : undefined;
}

/** A field that is null is as if it were not there: so the API server reads it, and so does YAML's author of "bulkhead:". */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (typeof value !== 'object' || value === null) return value;
  const kept = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(kept.map(([name, field]) => [name, withoutNulls(field)]));
}

function deeperThan(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return depth === 0 || Object.values(value).some((field) => deeperThan(field, depth - 1));
}

function fieldProblem(issue: z.core.$ZodIssue): FieldProblem {
  let path = '';
  for (const part of issue.path)
    path += typeof part === 'number' ? `[${part}]` : `${path === '' ? '' : '.'}${String(part)}`;
  return { path, message: issue.message };
}
