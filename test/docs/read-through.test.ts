// Pages that need no cluster hold, command by command.

import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { describe, it } from 'vitest';
import { kindOf } from './kinds.ts';
import { allBlocks, blocksOfPage } from './pages.ts';
import { readThrough } from './read-through.ts';

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  await new Promise<void>((closed) => server.close(() => closed()));
  return port;
}

const blocks = allBlocks();
const typedHere = new Set(blocks.filter((block) => kindOf(block, blocks) === 'machine').map(({ page }) => page));

describe('a reader without a cluster', () => {
  it.each([...typedHere])(
    'finds that %s holds',
    async (page) => {
      const instead = new Map([['9001', String(await freePort())]]);
      await readThrough(blocksOfPage(page), { kind: 'machine', instead });
    },
    120_000,
  );
});
