/** As Node's: told when what was written is in the hands of the kernel, or that it never will be. */
export type Written = (error: Error | null) => void;

/** Each of them, once. */
export function tell(waiting: Written[], error: Error | null): void {
  for (const written of waiting.splice(0)) written(error);
}
