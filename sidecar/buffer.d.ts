// Node's own fast path for latin1 text: half the cost of `toString('latin1', …)`, and not in the published types.
interface Buffer {
  latin1Slice(start?: number, end?: number): string;
}
