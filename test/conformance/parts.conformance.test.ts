// Each program that a test here uses is the one that is meant, and runs on this machine.
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { findPart, isMissing, PARTS, type Part, type PartName, partPath } from './parts.ts';

describe('the programs of others', () => {
  for (const name of Object.keys(PARTS) as PartName[]) {
    const { versionArguments, says }: Part = PARTS[name];
    it.skipIf(isMissing(name))(`${name} says its version`, () => {
      const { status, stdout, stderr } = spawnSync(partPath(name), versionArguments, { encoding: 'utf8' });
      expect(`${stdout}${stderr}`).toMatch(says ?? /\d+\.\d+/);
      if (says === undefined) expect(status).toBe(0);
    });
  }

  it('are found by an absolute path', () => {
    for (const name of Object.keys(PARTS) as PartName[]) {
      if (!isMissing(name)) expect(findPart(name)).toMatch(/^\/.*\/[a-z0-9-]+$/);
    }
  });
});
