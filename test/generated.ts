// Parts of the docs that are written from code: compared by tests, and written anew with UPDATE_GOLDEN=1.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { readText, root } from './examples.ts';

export const table = (head: readonly string[], rows: readonly (readonly string[])[]): string =>
  [head, head.map(() => '---'), ...rows]
    .map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');

/** Compares what stands between the two marks with what the code says; or writes it there. */
export function expectGenerated(page: string, mark: string, expected: string): void {
  const text = readText(page);
  const [begin, end] = [`<!-- generated: ${mark} -->`, '<!-- /generated -->'];
  const from = text.indexOf(begin) + begin.length;
  const to = text.indexOf(end, from);
  expect(text, `${page} has the marks of ${mark}`).toContain(begin);
  expect(to).toBeGreaterThan(from);
  if (process.env['UPDATE_GOLDEN'] === '1') {
    writeFileSync(join(root, page), `${text.slice(0, from)}\n${expected}\n${text.slice(to)}`);
    return;
  }
  expect(
    text.slice(from, to).trim(),
    `${page} is not up to date: UPDATE_GOLDEN=1 npm test -- test/docs test/mistakes`,
  ).toBe(expected);
}
