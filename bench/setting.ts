// What every proxy of a run finds when it starts.
import type { BenchCase } from './cases.ts';
import type { Processes } from './processes.ts';
import type { Tools } from './tools.ts';

export interface Setting {
  processes: Processes;
  tools: Tools;
  /** For files of this run; removed after it. */
  folder: string;
  upstreamPort: number;
  bench: BenchCase;
  /** Of the proxies; they have it alone, one after the other. */
  proxyCpu: number;
  /** Of load generator, upstream, operator and the bench itself. */
  loadCpu: number;
}

export interface RunningProxy {
  port: number;
  /** All its processes. */
  pids: readonly number[];
  /**
   * Requests that it has forwarded and seen answered well, by its own metrics; connections, where the case is one of opaque TCP. Not there
   * where nothing stands between.
   */
  served?(): Promise<number>;
  /** Rejects when one of its processes ends by itself. Never resolves. */
  failed: Promise<never>;
  stop(): Promise<void>;
}

export interface Proxy {
  name: string;
  start(setting: Setting): Promise<RunningProxy>;
}
