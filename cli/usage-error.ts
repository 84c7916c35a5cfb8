/** Something that the user can put right; printed without a stack. */
export class UsageError extends Error {
  override name = 'UsageError';
  readonly exitCode: number;

  /** 2, unless the command ran and has an answer that is no success. */
  constructor(message: string, exitCode = 2) {
    super(message);
    this.exitCode = exitCode;
  }
}
