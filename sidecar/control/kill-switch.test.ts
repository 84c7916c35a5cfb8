import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { silentLogger } from '../../runtime/log.ts';
import type { RunningServer } from '../admin/server.ts';
import { runControlCommand } from './command.ts';
import { startControlServer } from './control-server.ts';
import { KillSwitch, readMarker } from './kill-switch.ts';

let stateDirectory = '';
let server: RunningServer | null = null;
beforeEach(async () => {
  stateDirectory = await mkdtemp(join(tmpdir(), 'breakwater-switch-'));
});
afterEach(async () => {
  await server?.close();
  server = null;
  await rm(stateDirectory, { recursive: true, force: true });
});

/** A sidecar as far as the switch is concerned; what it was told, in order. */
async function startSidecar(directory: string | null = stateDirectory) {
  const changes: boolean[] = [];
  const killSwitch = new KillSwitch(directory, silentLogger, (disabled) => changes.push(disabled));
  await killSwitch.restore();
  server = await startControlServer({
    port: 0,
    stateDirectory: directory,
    status: () => ['policies: as they are', 'circuits: none'],
    plan: () => ({ planVersion: 'v1' }),
    isDisabled: () => killSwitch.isDisabled,
    setDisabled: (disabled) => killSwitch.set(disabled),
    clock: systemClock,
    log: silentLogger,
  });
  return { changes, killSwitch };
}

async function command(
  name: 'disable' | 'enable' | 'status',
  changes: { controlPort?: number; stateDirectory?: string | null } = {},
) {
  const lines: string[] = [];
  const code = await runControlCommand(name, { controlPort: 0, stateDirectory, ...changes }, (line) =>
    lines.push(line),
  );
  return { code, text: lines.join('\n') };
}

describe('the local kill switch', () => {
  it('acts at once, over a restart, and until it is reset', async () => {
    const first = await startSidecar();
    expect(await command('disable')).toEqual({
      code: 0,
      text: expect.stringMatching(/^disabled: .* forwards everything without policies/),
    });
    expect(await command('disable')).toEqual({ code: 0, text: expect.stringMatching(/^already disabled/) });
    expect(first.changes).toEqual([true]);
    await server?.close();

    const second = await startSidecar();
    expect(second.changes).toEqual([true]);
    expect(await command('enable')).toEqual({ code: 0, text: 'enabled: the policies of the plan act' });
    expect(second.changes).toEqual([true, false]);
    await server?.close();

    const third = await startSidecar();
    expect(third.changes).toEqual([]);
    expect(await command('status')).toEqual({ code: 0, text: 'policies: as they are\ncircuits: none' });
  });

  it('is after a restart what it was told last, however fast one word followed another', async () => {
    const { killSwitch } = await startSidecar();
    await Promise.all([true, false, true, false].map((disabled) => killSwitch.set(disabled)));
    expect([killSwitch.isDisabled, await readMarker(stateDirectory)]).toEqual([false, false]);
    await Promise.all([false, true].map((disabled) => killSwitch.set(disabled)));
    expect([killSwitch.isDisabled, await readMarker(stateDirectory)]).toEqual([true, true]);
  });

  it('takes a fixed port from the environment', async () => {
    await startSidecar(null);
    const port = server?.port ?? 0;
    expect(await command('disable', { controlPort: port, stateDirectory: null })).toEqual({
      code: 0,
      text: expect.stringMatching(
        /disabled: [^]*but it will not outlive this process: this sidecar has no state directory/,
      ),
    });
  });

  it('sets the marker for a sidecar that does not answer, and says that this is not the same', async () => {
    expect(await command('disable')).toEqual({
      code: 1,
      text: expect.stringMatching(/does not answer: no sidecar has left[^]*it will start disabled/),
    });
    expect(await readdir(stateDirectory)).toEqual(['disabled']);
    expect(await command('status')).toMatchObject({ code: 1, text: expect.stringContaining('will start disabled') });
    const { changes } = await startSidecar();
    expect(changes).toEqual([true]);
    const port = server?.port ?? 0;
    await server?.close();
    server = null;
    expect(await command('enable', { controlPort: port })).toEqual({
      code: 1,
      text: expect.stringMatching(/ECONNREFUSED[^]*will start enabled/),
    });
    expect(await command('disable', { controlPort: port, stateDirectory: null })).toMatchObject({
      code: 1,
      text: expect.stringContaining('nothing was changed'),
    });
  });

  it('acts even where the marker cannot be written, and says so', async () => {
    const file = join(stateDirectory, 'file');
    await writeFile(file, '');
    const changes: boolean[] = [];
    const killSwitch = new KillSwitch(join(file, 'state'), silentLogger, (disabled) => changes.push(disabled));
    await killSwitch.restore();
    expect(await killSwitch.set(true)).toContain('ENOTDIR');
    expect(changes).toEqual([true]);
  });

  it('is not thrown by a request without the header, nor by GET', async () => {
    const { changes } = await startSidecar();
    const base = `http://127.0.0.1:${server?.port}`;
    expect((await fetch(`${base}/disable`, { method: 'POST' })).status).toBe(403);
    expect((await fetch(`${base}/disable`)).status).toBe(404);
    expect(changes).toEqual([]);
    expect(await (await fetch(`${base}/plan`)).json()).toEqual({ planVersion: 'v1' });
  });
});
