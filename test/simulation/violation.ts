/** Something happened that must never happen. */
export class Violation extends Error {
  override name = 'Violation';
}

export function demand(holds: boolean, message: () => string): void {
  if (!holds) throw new Violation(message());
}
