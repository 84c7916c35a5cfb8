import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, asyncProperty, nat } from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readStateFile, writeStateFile } from './state-file.ts';

let directory = '';
let path = '';
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'breakwater-state-'));
  path = join(directory, 'plan.state');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const stored = { text: '{"kind":"plan","text":"žluťoučký\\n"}\n', savedAtUnixMs: 1_800_000_000_000 };

describe('state file', () => {
  it('comes back as it was written, and leaves nothing beside it', async () => {
    await writeStateFile(path, stored, 1000);
    expect(await readStateFile(path, 1000)).toEqual(stored);
    expect(await readdir(directory)).toEqual(['plan.state']);
  });

  it('is nothing where there is no file', async () => {
    expect(await readStateFile(path, 1000)).toBeNull();
  });

  it('is refused wherever it is cut and whatever byte is changed', async () => {
    await writeStateFile(path, stored, 1000);
    const whole = await readFile(path);
    await assert(
      asyncProperty(nat(whole.length - 1), nat(254), async (at, change) => {
        await writeFile(path, whole.subarray(0, at));
        await expect(readStateFile(path, 1000)).rejects.toThrow(/header|cut/);
        const damaged = Buffer.from(whole);
        damaged[at] = ((whole[at] ?? 0) + 1 + change) % 256;
        await writeFile(path, damaged);
        // The time of writing is for a metric alone, and may be damaged into another time.
        const read = await readStateFile(path, 1000).catch((error: Error) => error);
        if (!(read instanceof Error)) expect(read?.text).toBe(stored.text);
      }),
      { numRuns: 60 },
    );
  });

  it('keeps the old content when the new one is too large or cannot be written', async () => {
    await writeStateFile(path, stored, 1000);
    await expect(writeStateFile(path, { ...stored, text: 'x'.repeat(1001) }, 1000)).rejects.toThrow(
      'more than the 1000',
    );
    await expect(writeStateFile(join(directory, 'none', 'x'), stored, 1000)).rejects.toThrow('ENOENT');
    expect(await readStateFile(path, 1000)).toEqual(stored);
  });

  it('does not read a file that nobody can have written', async () => {
    await writeFile(path, Buffer.alloc(5000, 'x'));
    await expect(readStateFile(path, 1000)).rejects.toThrow('more than can have been written');
  });
});
