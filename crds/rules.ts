// One validation rule, said twice: as CEL for the API server, as a function for our own parser. Both stand side by side with one message,
// so that they cannot drift without somebody seeing it; the cases in testdata/ go through both and must agree.
import type { z } from 'zod';

export interface Rule<T> {
  /** CEL over `self`, as the API server sees it: durations are still text there. */
  cel: string;
  /** What is wrong and what to change. */
  message: string;
  /** Which part of the value breaks it. Our own parser adds that; CEL that could is too costly where keys have no bound. */
  culprit?(value: T): string;
  /** Path below the value that the message belongs to, as CEL wants it: ".attempt". The value itself where absent. */
  fieldPath?: `.${string}`;
  /** The same condition over the parsed value: durations are milliseconds here. */
  holds(value: T): boolean;
}

/**
 * The form of a text. It is a rule and not a `pattern`, whose message would show a regular expression and not say what to write.
 * `pattern` is read alike by RE2 and ECMAScript, and holds no quote and no backslash.
 */
export function formRule(pattern: string, message: string): Rule<string> {
  const form = new RegExp(pattern);
  return { cel: `self.matches('${pattern}')`, message, holds: (text) => form.test(text) };
}

/** One entry of `x-kubernetes-validations`. */
export interface ValidationRule {
  rule: string;
  message: string;
  fieldPath?: string;
}

export const VALIDATIONS = 'x-kubernetes-validations';

/**
 * The schema with the rules added to those it has. They run where the value is well-formed below, as the API server does it, and all of
 * them do, so that a user sees every problem at once.
 */
export function withRules<S extends z.ZodType>(schema: S, rules: readonly Rule<z.output<S>>[]): S {
  const checked = schema.superRefine((value, context) => {
    for (const rule of rules) {
      if (rule.holds(value)) continue;
      context.addIssue({
        code: 'custom',
        message: rule.culprit ? `${rule.message}; wrong here: ${rule.culprit(value)}` : rule.message,
        path: rule.fieldPath ? rule.fieldPath.slice(1).split('.') : [],
      });
    }
  });
  const before = (schema.meta()?.[VALIDATIONS] ?? []) as ValidationRule[];
  const added = rules.map(
    ({ cel, message, fieldPath }): ValidationRule => ({ rule: cel, message, ...(fieldPath ? { fieldPath } : {}) }),
  );
  return checked.meta({ ...schema.meta(), [VALIDATIONS]: [...before, ...added] });
}
