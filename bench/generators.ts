// What generates the load of a case.
import { prepareH2load } from './h2load.ts';
import type { Load } from './load.ts';
import type { Setting } from './setting.ts';
import { prepareWrk } from './wrk.ts';

/** Once for each case: writes what its generator reads. */
export async function prepareLoad(setting: Setting): Promise<Load> {
  const closedLoop = await (setting.bench.protocol === 'http2' ? prepareH2load : prepareWrk)(setting);
  return { warmUp: closedLoop, measure: closedLoop };
}
