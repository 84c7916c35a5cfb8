// unknown → model or problems. Never throws, ignores fields it does not know (versions may differ), and lets no problem of `status`, which
// is ours, keep a user's object from being read.
import { z } from 'zod';
import { OWN_GROUP, OWN_VERSION, objectMeta } from './kubernetes.ts';
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
  const result = serviceDependency.safeParse(value);
  if (!result.success) return { ok: false, problems: result.error.issues.map(fieldProblem) };
  const { kind, metadata, spec } = result.data;
  return { ok: true, model: { kind, metadata, spec, status: readStatus(serviceDependencyStatus, value) } };
}

export function parseResiliencePolicy(value: unknown): ParseResult<ResiliencePolicy> {
  const result = resiliencePolicy.safeParse(value);
  if (!result.success) return { ok: false, problems: result.error.issues.map(fieldProblem) };
  const { kind, metadata, spec } = result.data;
  return { ok: true, model: { kind, metadata, spec, status: readStatus(resiliencePolicyStatus, value) } };
}

function readStatus<S extends z.ZodType>(schema: S, value: unknown): z.output<S> | undefined {
  const result = schema.safeParse((value as { status?: unknown }).status);
  return result.success ? result.data : undefined;
}

function fieldProblem(issue: z.core.$ZodIssue): FieldProblem {
  let path = '';
  for (const part of issue.path)
    path += typeof part === 'number' ? `[${part}]` : `${path === '' ? '' : '.'}${String(part)}`;
  return { path, message: issue.message };
}
