// For a test, as a process of its own: leads, and writes without a pause for as long as it may; prints each change of its role.
import { systemClock } from '../../../runtime/clock.ts';
import { silentLogger } from '../../../runtime/log.ts';
import { systemRandom } from '../../../runtime/random.ts';
import { createOperatorMetrics } from '../../metrics.ts';
import { ApiClient, CONTENT_TYPES } from '../../watch/api-client.ts';
import { loadKubeConfig } from '../../watch/kube-config.ts';
import type { ElectionTimes } from '../election.ts';
import { Elector } from '../elector.ts';
import { createLeaseStore } from '../lease-store.ts';

const [kubeconfig = '', times = ''] = process.argv.slice(2);
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

let count = 0;
async function write(): Promise<void> {
  for (;;) {
    const body = { data: { stopped: String(++count) } };
    await api
      .request('PATCH', '/api/v1/namespaces/default/configmaps/written', {
        body,
        contentType: CONTENT_TYPES.mergePatch,
        fence: elector,
      })
      .catch(() => systemClock.sleep(1));
  }
}
// Several at a time, so that a stop catches some of them at every point of their way.
await Promise.all([write(), write(), write(), write()]);
