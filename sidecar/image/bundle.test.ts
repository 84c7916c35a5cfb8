import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { SIDECAR_NODE_FLAGS } from '../node-flags.ts';
import { type Bundle, bundleSidecar } from './bundle.ts';

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let folder = '';
let bundle: Bundle;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'breakwater-bundle-'));
  bundle = await bundleSidecar(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('is small, for all of it is memory beside every application', async () => {
  const script = await readFile(join(folder, 'main.js'));
  expect(script.byteLength).toBe(bundle.bytes);
  expect(bundle.bytes).toBeLessThan(600_000);
  // All of zod is five times as much: `import * as z` lets the bundler leave out what is not used.
  expect(bundle.packages.get('zod')).toBeLessThan(150_000);
  expect(script.findIndex((byte) => byte > 0x7f)).toBe(-1);
});

it('is started with the flags and the environment of every sidecar', async () => {
  const command = await readFile(join(folder, 'breakwater'), 'utf8');
  const run = `exec node ${SIDECAR_NODE_FLAGS.join(' ')} /opt/breakwater/main.js "$@"`;
  expect(command).toBe(`#!/bin/sh\nexport MALLOC_ARENA_MAX=1\nexport UV_USE_IO_URING=0\n${run}\n`);
});

it('starts, listens and stops, and loads nothing that it may never need', async () => {
  const hook = join(folder, 'hook.cjs');
  await writeFile(hook, `process.on('exit', () => console.log(process.moduleLoadList.join('\\n')));`);
  const child = spawn(process.execPath, [...SIDECAR_NODE_FLAGS, '--require', hook, join(folder, 'main.js')], {
    env: {
      BREAKWATER_CAPTURE: 'explicit',
      BREAKWATER_OPERATOR_URL: 'https://127.0.0.1:1',
      BREAKWATER_TOKEN_FILE: join(folder, 'token'),
      BREAKWATER_CA_FILE: join(folder, 'ca.crt'),
      BREAKWATER_ADMIN_HOST: '127.0.0.1',
      BREAKWATER_ADMIN_PORT: '0',
      BREAKWATER_CONTROL_PORT: '0',
      BREAKWATER_PARENT_WATCH: '1',
    },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const printed: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => printed.push(line));
  for await (const line of createInterface({ input: child.stderr })) {
    // Its parent goes once it serves.
    if ((JSON.parse(line) as { msg: string }).msg === 'sidecar started') child.stdin.end();
  }
  if (child.exitCode === null) await once(child, 'exit');
  expect(child.exitCode).toBe(0);
  const modules = printed.filter((line) => line.startsWith('NativeModule ')).map((line) => line.split(' ')[1]);
  expect(modules).toContain('net');
  expect(modules.filter((name) => /undici|http2|sqlite|quic|^assert$/.test(name ?? ''))).toEqual([]);
});
