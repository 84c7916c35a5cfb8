// Expected output that is kept in a file. UPDATE_GOLDEN=1 writes it anew; read the difference before you commit it.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect } from 'vitest';

/** Compares a text with the content of a file, which ends with a line break. */
export function expectGolden(file: string, actual: string): void {
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${actual}\n`);
  }
  expect(existsSync(file) ? readFileSync(file, 'utf8') : '').toBe(`${actual}\n`);
}
