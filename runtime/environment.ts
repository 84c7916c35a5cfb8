// The only reader of process.env. A process names what it reads in one zod object; all problems are told at once.
import type * as z from 'zod';

export class EnvironmentError extends Error {
  override name = 'EnvironmentError';
}

/** Parses the environment by the schema's keys; throws EnvironmentError that names every bad variable and what it must be. */
export function readEnvironment<T extends z.ZodObject>(schema: T, source: NodeJS.ProcessEnv = process.env): z.infer<T> {
  const wanted: Record<string, string | undefined> = {};
  for (const key of Object.keys(schema.shape)) {
    const value = source[key];
    if (value !== undefined && value !== '') wanted[key] = value;
  }
  const result = schema.safeParse(wanted);
  if (result.success) return result.data;
  const problems = result.error.issues.map((issue) => `  ${issue.path.join('.')}: ${issue.message}`);
  throw new EnvironmentError(`the environment does not fit:\n${problems.join('\n')}`);
}
