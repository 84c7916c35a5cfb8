// Ours, by the way that users take: `breakwater standalone` over a folder of manifests, with the sidecar bundled as in its image. Measured is
// the process of the sidecar; the operator beside it has the other CPU.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exitOf } from '../../cli/following-child.ts';
import { startStandalone } from '../../cli/standalone-client.ts';
import { bundleSidecar } from '../../sidecar/image/bundle.ts';
import { ask, askByHttp2, untilServing } from '../loopback.ts';
import { CONNECTION_POLICIES, CONSUMER, DEPENDENCY, manifestsOf, NAMESPACE, requestPolicies } from '../manifests.ts';
import { pin } from '../processes.ts';
import { commandLine, processTree } from '../procfs.ts';
import type { Proxy, RunningProxy, Setting } from '../setting.ts';
import {
  connectionsIn,
  proveConnectionPolicies,
  proveRequestPolicies,
  requestsIn,
  scrape,
} from './breakwater-metrics.ts';

export interface RunningBreakwater extends RunningProxy {
  /** Throws where the policies do not act in the very process that was measured. Leaves its circuit open. */
  provePolicies(): Promise<void>;
}

export interface Standalone {
  port: number;
  adminPort: number;
  /** Of the sidecar. */
  pid: number;
  /** The script that it runs. */
  bundle: string;
  failed: Promise<never>;
  stop: () => Promise<void>;
}

/** `breakwater standalone` over one file of manifests. Resolves when it is ready. */
export async function startOurs({ processes, folder, proxyCpu }: Setting, manifests: string): Promise<Standalone> {
  const source = join(folder, 'breakwater');
  await mkdir(source, { recursive: true });
  await writeFile(join(source, 'bench.json'), manifests);
  const image = join(folder, 'sidecar');
  await bundleSidecar(image);
  const bundle = join(image, 'main.js');
  const standalone = await startStandalone(source, ['--log-level', 'warn', '--sidecar-bundle', bundle]);
  processes.adopt(() => standalone.stop());
  try {
    const workload = standalone.ready.workloads[`${NAMESPACE}/${CONSUMER}`];
    const port = Number(workload?.dependencies[DEPENDENCY]?.split(':').at(-1));
    const adminPort = Number(new URL(workload?.admin ?? '').port);
    const pid = sidecarBelow(standalone.child.pid ?? 0, bundle);
    await pin(pid, proxyCpu);
    const failed = exitOf(standalone.child).then(() => {
      throw new Error('standalone ended by itself');
    });
    failed.catch(() => undefined);
    return { port, adminPort, pid, bundle, failed, stop: () => standalone.stop() };
  } catch (error) {
    await standalone.stop();
    throw error;
  }
}

export const breakwater = {
  name: 'breakwater',
  async start(setting: Setting): Promise<RunningBreakwater> {
    const { bench, upstreamPort } = setting;
    const isOpaque = bench.protocol === 'tcp';
    const manifests = manifestsOf({
      upstreamPort,
      portName: isOpaque ? 'tcp' : 'http',
      policy: isOpaque ? CONNECTION_POLICIES : requestPolicies(bench.rules),
    });
    const { port, adminPort, pid, failed, stop } = await startOurs(setting, manifests);
    const by = bench.protocol === 'http2' ? askByHttp2 : ask;
    try {
      await untilServing(port, '/1k', by);
    } catch (error) {
      await stop();
      throw error;
    }
    return {
      port,
      pids: [pid],
      served: async () => (isOpaque ? connectionsIn : requestsIn)(await scrape(adminPort)),
      failed,
      stop,
      provePolicies: () =>
        isOpaque ? proveConnectionPolicies(port, adminPort) : proveRequestPolicies(port, adminPort, by),
    };
  },
} satisfies Proxy;

function sidecarBelow(standalonePid: number, script: string): number {
  const below = processTree(standalonePid).filter((pid) => pid !== standalonePid);
  const sidecars = below.filter((pid) => commandLine(pid).includes(script));
  const [pid] = sidecars;
  if (pid === undefined || sidecars.length > 1) throw new Error(`standalone runs ${sidecars.length} sidecars, not one`);
  return pid;
}
