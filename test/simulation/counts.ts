// Counts of several runs, or of several sidecars, by what is counted.

export function add(total: Record<string, number>, part: Record<string, number>): void {
  for (const [name, count] of Object.entries(part)) total[name] = (total[name] ?? 0) + count;
}
