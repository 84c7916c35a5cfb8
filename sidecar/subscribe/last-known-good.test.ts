import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { encodeFrame } from '../../plan/wire.ts';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { StateDirectory } from './last-known-good.ts';
import { planOf, setOf } from './recording-data-plane.ts';

let directory = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'breakwater-lkg-'));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const line = (namespace: string, version: string) => encodeFrame({ kind: 'plan', version, plan: planOf(namespace) });
const unchangedState = { plan: null, endpoints: null, trustBundle: null };

describe('StateDirectory', () => {
  it('brings back the newest of everything, with its time', async () => {
    const clock = new ManualClock();
    const savedAtUnixMs = clock.unixMs();
    const state = new StateDirectory(directory, clock, silentLogger, () => {});
    expect(await state.read()).toEqual(unchangedState);
    state.savePlan(line('old', 'v1'));
    state.savePlan(line('new', 'v2'));
    state.saveEndpoints(() => ({ version: 'e1', sets: [setOf('a', '10.0.0.1')] }));
    await state.flush();
    clock.wallStepMs = -86_400_000;
    expect(await new StateDirectory(directory, clock, silentLogger, () => {}).read()).toEqual({
      plan: { version: 'v2', plan: planOf('new'), savedAtUnixMs },
      endpoints: { version: 'e1', sets: [setOf('a', '10.0.0.1')], savedAtUnixMs },
      trustBundle: null,
    });
    expect((await readdir(directory)).sort()).toEqual(['endpoints.state', 'plan.state']);
  });

  it('writes endpoints at most twice a second, and then the newest', async () => {
    const clock = new ManualClock();
    const state = new StateDirectory(directory, clock, silentLogger, () => {});
    const snapshot = vi.fn(() => ({ version: 'e9', sets: [] }));
    for (let turn = 0; turn < 100; turn++) {
      state.saveEndpoints(snapshot);
      await clock.advance(4);
    }
    expect(snapshot).not.toHaveBeenCalled();
    await clock.advance(100);
    await state.flush();
    expect(snapshot).toHaveBeenCalledTimes(1);
  });

  it('makes the directory', async () => {
    const nested = join(directory, 'a', 'b');
    const state = new StateDirectory(nested, new ManualClock(), silentLogger, () => {});
    await state.read();
    state.savePlan(line('shop', 'v1'));
    await state.flush();
    expect(await readdir(nested)).toEqual(['plan.state']);
  });

  it('tries again later where it could not write', async () => {
    const clock = new ManualClock();
    const onFailure = vi.fn();
    const missing = join(directory, 'missing');
    const state = new StateDirectory(missing, clock, silentLogger, onFailure);
    state.savePlan(line('shop', 'v1'));
    await vi.waitFor(() => expect(onFailure).toHaveBeenCalledTimes(1));
    await new StateDirectory(missing, clock, silentLogger, () => {}).read();
    await clock.advance(30_000);
    await state.flush();
    expect((await state.read()).plan?.version).toBe('v1');
    expect(onFailure).toHaveBeenCalledTimes(1);
  });

  it('reads nothing into a frame of another kind', async () => {
    const state = new StateDirectory(directory, new ManualClock(), silentLogger, () => {});
    state.savePlan(encodeFrame({ kind: 'heartbeat' }));
    state.saveTrust('not a certificate');
    await state.flush();
    expect(await state.read()).toEqual(unchangedState);
  });
});
