// What docs/wire.md claims, it claims by the name of a test: each of them is there.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readText, root } from './examples.ts';

const page = readText('docs/wire.md');
/** [`file`](../path) “name of a test” */
const proofs = [...page.matchAll(/\[`([^`]+)`\]\(\.\.\/([^)]+)\) “([^”]+)”/g)].map(
  ([, file = '', path = '', name = '']) => ({
    file,
    path,
    name,
  }),
);
const POINTS = [
  'Keep-alive reuse race',
  'Non-idempotent retry',
  'Body kept for replay',
  'Retry storms',
  'gRPC status in trailers',
  'Half-close',
  'Trailers',
  '100-continue, 1xx',
  'Upgrade, WebSocket',
  'Early response while the body flows',
  'Client abort',
  'Backpressure',
  'Limits',
  'Drain on SIGTERM',
  'Config swap',
  'Control plane down',
  'Clock jumps',
  '10,000 slow connections',
  'Overload',
  'HTTP/2 abuse',
];

const NUMBER = /CVE-\d{4}-\d+/g;

describe('docs/wire.md', () => {
  it('has each point, with its proof or the word that there is none', () => {
    const rows = page.split('\n').filter((line) => line.startsWith('| **'));
    expect(rows.map((row) => /^\| \*\*(.+?)\*\*/.exec(row)?.[1])).toEqual(POINTS);
    for (const row of rows) {
      const cells = row.split(' | ');
      expect(cells).toHaveLength(4);
      expect(cells[3]).toMatch(/^(none yet |\[`.*” )\|$/);
    }
  });

  it('has every attack that a test names by its number, and no other', () => {
    const section = page.slice(page.indexOf('## Attacks by their names'), page.indexOf('## How it is tried'));
    const listed = section.split('\n').filter((line) => line.startsWith('| ') && !line.startsWith('| attack'));
    for (const row of listed) expect(row).toMatch(/” \|$/);
    const named = [...new Set(proofs.map(({ path }) => path))].flatMap((path) => readText(path).match(NUMBER) ?? []);
    const numbers = listed.flatMap((row) => row.split(' | ')[0]?.match(NUMBER) ?? []);
    expect([...new Set(numbers)].sort()).toEqual([...new Set(named)].sort());
  });

  it('names tests that are there', () => {
    expect(proofs.length).toBeGreaterThan(40);
    const absent = proofs.filter(({ file, path, name }) => {
      if (!path.endsWith(`/${file}`) || !existsSync(join(root, path))) return true;
      const source = readText(path).replaceAll("\\'", "'");
      return !["'", '"', '`'].some((quote) => source.includes(`${quote}${name}${quote}`));
    });
    expect(absent).toEqual([]);
  });
});
