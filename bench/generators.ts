// What generates the load of a case.
import type { Load } from './load.ts';
import type { Setting } from './setting.ts';
import { prepareWrk } from './wrk.ts';

/** Once for each case: writes what its generator reads. */
export async function prepareLoad(setting: Setting): Promise<Load> {
  const closedLoop = await prepareWrk(setting);
  return { warmUp: closedLoop, measure: closedLoop };
}
