// The demo as a whole, as a script would use it: it has to show what it promises, and end with one line of JSON.
import { execFile } from 'node:child_process';
import { readdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { z } from 'zod';
import { temporaryFolder } from '../harness/temporary-folder.ts';

const project = resolve(import.meta.dirname, '../..');
const result = z.strictObject({
  requests: z.number(),
  failed: z.number(),
  p99Ms: z.number(),
  reachedUpstreamWhileOpen: z.number(),
});
const lastLine = z.strictObject({ opened: z.boolean(), closed: z.boolean(), with: result, without: result });

it('opens, protects and closes, and says so in one line', async () => {
  const temporary = temporaryFolder('test-demo');
  try {
    const { code, output, errors } = await new Promise<{ code: number; output: string; errors: string }>((done) => {
      const args = [join(project, 'cli/bin/launch.js'), 'cli/main.ts', 'demo', '--output', 'json'];
      const child = execFile(
        process.execPath,
        args,
        { env: { ...process.env, TMPDIR: temporary } },
        (_, stdout, stderr) => done({ code: child.exitCode ?? -1, output: stdout, errors: stderr }),
      );
    });
    expect({ code, errors: code === 0 ? '' : errors }).toEqual({ code: 0, errors: '' });
    expect(output.trimEnd().split('\n')).toHaveLength(1);
    const shown = lastLine.parse(JSON.parse(output));
    expect(shown).toMatchObject({ opened: true, closed: true, with: { reachedUpstreamWhileOpen: 0 } });
    expect(shown.without.failed).toBeGreaterThan(shown.with.failed * 10);
    expect(shown.without.reachedUpstreamWhileOpen).toBeGreaterThan(0);
    expect(errors).toContain('the circuit from checkout to payments is open');
    expect(errors).toMatch(/checkout → payments: .* circuit open, retried \d+, refused [1-9]\d*, served \d+/);
    expect(readdirSync(temporary)).toEqual([]);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}, 120_000);
