// The id of a simulated request travels as its correlation id, which the sidecar passes on as it came.

const PREFIX = 'simulation-';

export const correlationOf = (id: number) => `${PREFIX}${id}`;

/** Zero: none of ours. */
export function idOf(correlation: string | undefined): number {
  return correlation?.startsWith(PREFIX) === true ? Number(correlation.slice(PREFIX.length)) : 0;
}
