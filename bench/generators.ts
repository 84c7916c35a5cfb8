// What generates the load of a case.
import { join } from 'node:path';
import type { OpenLoopShape } from './cases.ts';
import { prepareH2load } from './h2load.ts';
import { type GenerateLoad, type Load, loadSummary } from './load.ts';
import type { Target } from './open-loop/generator.ts';
import type { Setting } from './setting.ts';
import { holdSlowHeads } from './slow-heads.ts';
import { prepareWrk } from './wrk.ts';

/** As wrk has it: a request that takes longer than 2 s makes the load count for nothing. */
const COMMON = { leadInSeconds: 0.5, timeoutSeconds: 2 };
const OPEN_LOOP = join(import.meta.dirname, 'open-loop/main.ts');
/** A collection of garbage in the generator would be taken for latency of the proxy: room for what a slice allocates. */
const WITHOUT_COLLECTIONS = ['--min-semi-space-size=64', '--max-semi-space-size=64'];

/** Once for each case: writes what its generator reads. */
export async function prepareLoad(setting: Setting): Promise<Load> {
  const { protocol, load } = setting.bench;
  const closedLoop = await (protocol === 'http2' ? prepareH2load : prepareWrk)(setting);
  if (load.kind !== 'open-loop') return { warmUp: closedLoop, measure: () => closedLoop };
  const { requestsPerSecond: rate, slowHeads } = load;
  if (rate === 'half of saturation') {
    const measure = (saturation: number) => openLoop(setting, load, Math.round(saturation / 2));
    return { warmUp: closedLoop, measure };
  }
  const atRate = openLoop(setting, load, rate);
  if (slowHeads !== undefined)
    return { warmUp: closedLoop, measure: () => atRate, hold: (port) => holdSlowHeads(port, slowHeads) };
  // What a proxy keeps of the memory that it once needed is not to be that of a load beyond the case.
  return { warmUp: atRate, measure: () => atRate };
}

function openLoop(
  { processes, loadCpu, bench }: Setting,
  load: OpenLoopShape,
  requestsPerSecond: number,
): GenerateLoad {
  const { connections } = load;
  return async (port, seconds) => {
    const { path } = bench;
    const target: Target = { port, path, requestsPerSecond, seconds, connections, ...COMMON };
    const args = [...WITHOUT_COLLECTIONS, OPEN_LOOP, JSON.stringify(target)];
    return loadSummary.parse(JSON.parse(await processes.run(loadCpu, process.execPath, args)));
  };
}
