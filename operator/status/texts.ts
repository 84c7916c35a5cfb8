// How problems are told in a status, within the bounds of its schema. Pure.
import type { Problem } from '../compile/result.ts';

/** Stands between what a condition says and the warnings, which decide nothing. */
export const NOTE = '; note: ';

/** Bounds of texts, below those of the schema. */
export const MAX_MESSAGE = 4096;
export const MAX_SUMMARY = 1024;
const MAX_PROBLEMS_TOLD = 8;

export function describe({ field, message }: Problem): string {
  return field === '' ? message : `${field}: ${message}`;
}

export function describeAll(problems: readonly Problem[]): string {
  return list(problems.map(describe));
}

export function list(texts: readonly string[]): string {
  const told = texts.slice(0, MAX_PROBLEMS_TOLD);
  const more = texts.length - told.length;
  return shorten([...told, ...(more > 0 ? [`and ${more} more`] : [])].join('; '), MAX_MESSAGE);
}

export function shorten(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max - 1)}…`;
}
