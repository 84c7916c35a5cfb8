// SIGKILL of a real operator, and of a real sidecar, while the application calls: nobody is told, and nothing is lost that need not be.
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { echo, OpenLoad } from '../faults/open-load.ts';
import { OperatorProcess } from '../faults/operator-process.ts';
import { WholeSidecar } from '../faults/whole-sidecar.ts';
import { temporaryFolder } from '../harness/temporary-folder.ts';
import { dependency, documents, endpoints, policy, service, startUpstream, until } from '../standalone/harness.ts';

const TOKEN = 'token-of-the-only-sidecar';
const MANY = 100;

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

it('sidecars go on without an operator that was killed, alone and after a restart, and follow the next one', {
  timeout: 120_000,
}, async () => {
  const base = temporaryFolder('killed');
  cleanUps.push(() => rmSync(base, { recursive: true, force: true }));
  const folder = join(base, 'manifests');
  const stateFolder = join(base, 'operator');
  mkdirSync(folder);
  mkdirSync(stateFolder, { mode: 0o700 });
  const upstream = await startUpstream(echo);
  cleanUps.push(() => upstream.close());
  const declare = (...names: string[]) => {
    const text = documents(
      ...names.flatMap((name) => [service(name), endpoints(name, [upstream.port])]),
      dependency('checkout', 'checkout', names),
      policy('checkout', 'checkout', { retries: { maxAttempts: 3 }, circuitBreaker: {} }),
    );
    writeFileSync(join(base, 'new.yaml'), text);
    renameSync(join(base, 'new.yaml'), join(folder, 'all.yaml'));
  };
  declare('payments');
  const settings = { folder, stateFolder, token: TOKEN };
  let operator = await OperatorProcess.start({ ...settings, port: 0 });
  cleanUps.push(() => operator.kill());
  const { port, url, caBundle } = operator;
  const startSidecar = async () => {
    const started = new WholeSidecar({ folder: join(base, 'sidecar'), token: TOKEN, operatorUrl: url, caBundle });
    cleanUps.push(() => started.kill());
    await until(
      () => started.isReady,
      () => `the sidecar is ready; it said\n${started.log}`,
    );
    return started;
  };
  let sidecar = await startSidecar();
  const streamsUp = () => sidecar.metric('breakwater_stream_up');
  await until(async () => (await streamsUp()) === 2, 'both streams are up');
  const first = await sidecar.planVersion();
  const address = sidecar.address('payments');
  const load = new OpenLoad({ address: () => address, perSecond: 100 });
  cleanUps.push(() => load.stop());
  await load.served(MANY);

  await operator.kill();
  await until(async () => (await streamsUp()) === 0, 'both streams are down');
  await load.served(MANY);
  expect(await sidecar.planVersion()).toBe(first);

  // What was declared meanwhile comes with the next operator, to the same process, while it serves.
  declare('payments', 'stock');
  operator = await OperatorProcess.start({ ...settings, port });
  await until(async () => (await streamsUp()) === 2, 'both streams are up again');
  await until(async () => (await sidecar.planVersion()) !== first, 'the new plan is in force');
  const second = await sidecar.planVersion();
  await load.served(MANY);
  await load.stop();
  expect(load.wrong).toEqual({});
  const executed = upstream.seen.filter(({ method }) => method === 'POST').map(({ url: path }) => path);
  expect(new Set(executed).size).toBe(executed.length);

  // Both are killed, and only the sidecar comes back: it has its plan, its endpoints and its ports from disk.
  await operator.kill();
  await sidecar.kill();
  sidecar = await startSidecar();
  expect(await sidecar.planVersion()).toBe(second);
  expect(await streamsUp()).toBe(0);
  expect(sidecar.address('payments')).toBe(address);
  const alone = new OpenLoad({ address: () => address, perSecond: 100 });
  cleanUps.push(() => alone.stop());
  await alone.served(MANY);

  declare('payments');
  operator = await OperatorProcess.start({ ...settings, port });
  await until(async () => (await sidecar.planVersion()) === first, 'the first declaration is in force again');
  await alone.served(MANY);
  await alone.stop();
  expect(alone.wrong).toEqual({});
});
