export const PROJECT: string;
export function findPinnedNode(platform?: string): string | undefined;
export function nodeForProject(): string;
export function runWithPinnedNode(script: string, args: readonly string[]): void;
