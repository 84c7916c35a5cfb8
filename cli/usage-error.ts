/** Something that the user can put right; printed without a stack, and the command ends with exit code 1. */
export class UsageError extends Error {
  override name = 'UsageError';
}
