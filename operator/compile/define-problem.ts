import type { Problem } from './result.ts';

/** One row of a list of problems: the condition it belongs to, its severity, and the message that says what is wrong and what to change. */
export function define<Details>(
  condition: Problem['condition'],
  severity: Problem['severity'],
  message: (details: Details) => string,
) {
  return { condition, severity, message };
}
