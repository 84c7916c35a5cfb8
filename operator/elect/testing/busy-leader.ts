// For a test, as a process of its own: leads, and writes the statuses of some policies without a pause for as long as it may; prints each
// change of its role.
import { systemClock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { systemRandom } from '../../../runtime/random.ts';
import { createOperatorMetrics } from '../../metrics.ts';
import { StatusWriter } from '../../status/writer.ts';
import { ApiClient } from '../../watch/api-client.ts';
import { loadKubeConfig } from '../../watch/kube-config.ts';
import type { ElectionTimes } from '../election.ts';
import { Elector } from '../elector.ts';
import { fencedApi } from '../fenced-api.ts';
import { createLeaseStore } from '../lease-store.ts';
import { lookAt } from './policies.ts';

const [kubeconfig = '', times = '', ...names] = process.argv.slice(2);
const api = new ApiClient({ kubeConfig: loadKubeConfig(kubeconfig), clock: systemClock, random: systemRandom });
const elector = new Elector({
  store: createLeaseStore({ api, namespace: 'default', name: 'stopped', timeoutMs: 1_000 }),
  leaseName: 'stopped',
  identity: 'stopped',
  times: JSON.parse(times) as ElectionTimes,
  clock: systemClock,
  random: systemRandom,
  log: silentLogger,
  metrics: createOperatorMetrics(),
});
elector.onChange(() => process.stdout.write(`${elector.role}\n`));
elector.start();

const writer = new StatusWriter(fencedApi(api, elector), createOperatorMetrics());
const { signal } = new AbortController();
async function write(name: string): Promise<void> {
  let object = await lookAt(api, name);
  for (let count = 1; ; ) {
    const status = { summary: String(count) };
    const result = await writer.write(object, status, signal).catch(() => systemClock.sleep(1));
    // As a watch would, so that nothing but the lead keeps it from writing on.
    if (result === 'Missed') object = await lookAt(api, name);
    else if (result !== undefined) count += 1;
  }
}
// Several at a time, so that a stop catches some of them at every point of their way.
await Promise.all(names.map((name) => write(name)));
