// One slice: the load generator against one proxy for some seconds, and what that cost the proxy.
import type { GenerateLoad, Held, Load, LoadSummary } from './load.ts';
import { cpuNanoseconds, memoryOf, type ProcessorTime, processorTimes } from './procfs.ts';
import type { RunningProxy, Setting } from './setting.ts';

const NANOSECONDS = 1e9;

export interface Slice {
  load: LoadSummary;
  /** User and system time of all threads of the proxy. */
  cpuMicrosPerRequest: number;
  /** CPU time of the proxy since the end of its slice before: what it put off is in no slice. 0 for the first. */
  idleCpuMicros: number;
  requestsPerSecond: number;
  rssBytes: number;
  anonymousBytes: number;
  /** Of the CPU of load generator and upstream: busy with anything, 0 to 1. */
  loadCpuBusy: number;
  /** Of the CPU of the proxy: busy with other things than the proxy, 0 to 1. */
  proxyCpuOthers: number;
  /** Of both: given to other machines by the hypervisor, 0 to 1. */
  steal: number;
}

/** `hold`: see Load. `cpuBefore`: of the proxy at the end of its slice before, in nanoseconds; undefined: there was none. */
export async function measureSlice(
  setting: Setting,
  generate: GenerateLoad,
  hold: Load['hold'],
  proxy: RunningProxy,
  seconds: number,
  cpuBefore?: number,
): Promise<Slice> {
  const idleCpuMicros = cpuBefore === undefined ? 0 : (cpuNanoseconds(proxy.pids) - cpuBefore) / 1000;
  const held = await hold?.(proxy.port);
  try {
    return { ...(await measureLoad(setting, () => generate(proxy.port, seconds), held, proxy)), idleCpuMicros };
  } finally {
    held?.release();
  }
}

async function measureLoad(
  setting: Setting,
  generate: () => Promise<LoadSummary>,
  held: Held | undefined,
  proxy: RunningProxy,
): Promise<Omit<Slice, 'idleCpuMicros'>> {
  const processorsBefore = processorTimes();
  const cpuBefore = cpuNanoseconds(proxy.pids);
  const load = await Promise.race([generate(), proxy.failed]);
  const cpu = cpuNanoseconds(proxy.pids) - cpuBefore;
  const processors = processorTimes();
  await held?.whole();
  const memory = memoryOf(proxy.pids);
  const spent = (number: number) => spentBetween(processorsBefore.get(number), processors.get(number));
  const loadCpu = spent(setting.loadCpu);
  const proxyCpu = spent(setting.proxyCpu);
  const proxyShare = cpu / NANOSECONDS / (load.durationMicros / 1e6);
  return {
    load,
    cpuMicrosPerRequest: cpu / 1000 / load.requests,
    requestsPerSecond: load.requests / (load.durationMicros / 1e6),
    ...memory,
    loadCpuBusy: loadCpu.busy,
    proxyCpuOthers: Math.max(0, proxyCpu.busy - proxyShare),
    steal: (loadCpu.steal + proxyCpu.steal) / 2,
  };
}

/** Shares of the time between, 0 to 1. */
export function spentBetween(before?: ProcessorTime, after?: ProcessorTime): { busy: number; steal: number } {
  const total = (after?.total ?? 0) - (before?.total ?? 0);
  if (total <= 0) return { busy: 0, steal: 0 };
  const steal = ((after?.steal ?? 0) - (before?.steal ?? 0)) / total;
  const idle = ((after?.idle ?? 0) - (before?.idle ?? 0)) / total;
  return { busy: Math.max(0, 1 - idle - steal), steal };
}
