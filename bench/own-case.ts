// A case that has its own way of measuring: no load on all proxies in rounds.
import type { Random } from '../runtime/random.ts';
import type { Setting } from './setting.ts';
import type { Say } from './tools.ts';

export interface OwnCase {
  name: string;
  description: string;
  measure(setting: Setting, options: OwnCaseOptions): Promise<OwnCaseResult>;
}

export interface OwnCaseOptions {
  rounds: number;
  random: Random;
  say: Say;
}

export interface OwnCaseResult {
  /** For people. */
  lines: readonly string[];
  /** For --json, one line each. */
  records: readonly object[];
  /** For --gate: what is above its limit. */
  failures: readonly string[];
}
