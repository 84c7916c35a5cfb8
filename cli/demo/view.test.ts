import { describe, expect, it } from 'vitest';
import { coloured, plain } from '../output/paint.ts';
import { milliseconds, renderPlain, renderScreen, renderTable, type View } from './view.ts';

const calm = { ratePerSecond: 40, errorPercent: 0, p99Ms: 12.4 };
const broken = { ratePerSecond: 1234, errorPercent: 100, p99Ms: 59_999 };
const view: View = {
  elapsedMs: 12_345,
  durationMs: 28_000,
  stage: 'payments answers every fourth charge with 503',
  shops: [
    {
      title: 'WITH BREAKWATER',
      customers: calm,
      connections: [
        {
          name: 'checkout → payments',
          recent: broken,
          counters: { circuit: 'half-open', transitions: 3, retried: 12, refused: 99_999, served: 1 },
        },
      ],
    },
    {
      title: 'WITHOUT',
      customers: broken,
      connections: [{ name: 'storefront → checkout', recent: calm, counters: undefined }],
    },
  ],
  events: Array.from({ length: 9 }, (_, index) => `event ${index} ${'x'.repeat(100)}`),
};
const colours = new RegExp(`${String.fromCharCode(27)}\\[\\d+m`, 'g');

describe('the demo on a screen', () => {
  it('fits into 80 columns and says the same with and without colour', () => {
    const lines = renderScreen(view, 80, plain);
    expect(lines.filter((line) => line.length > 79)).toEqual([]);
    expect(renderScreen(view, 80, coloured).map((line) => line.replaceAll(colours, ''))).toEqual(lines);
  });

  it('keeps the columns under each other', () => {
    const [head, , row] = renderScreen(view, 80, plain).slice(3);
    for (const title of ['rate', 'errors', 'p99', 'retried', 'refused', 'served']) {
      const end = (head ?? '').indexOf(title) + title.length;
      expect(row?.slice(end - 1, end), title).toMatch(/\S/);
      expect(row?.slice(end, end + 1), title).toMatch(/^\s?$/);
    }
    expect(row).toContain('half-open');
  });

  it('shows the newest events', () => {
    const lines = renderScreen(view, 80, plain);
    expect(lines.at(-1)).toContain('event 8');
    expect(lines.join('\n')).not.toContain('event 2');
  });

  it('says the same line by line where there is no terminal', () => {
    expect(renderPlain(view).join('\n')).toContain(
      'checkout → payments: 1234/s, errors 100 %, p99 60.00 s, circuit half-open, retried 12, refused 99999, served 1',
    );
  });

  it('sets both shops side by side in the end', () => {
    const customers = { requests: 480, failed: 0, p50Ms: 8, p99Ms: 310 };
    const shop = { customers, baskets: customers, paid: 1, paidLater: 2, reachedUpstreamWhileOpen: 0 };
    const lines = renderTable({ with: shop, without: { ...shop, reachedUpstreamWhileOpen: 170 } }, plain);
    expect(lines.find((line) => line.startsWith('charges'))).toMatch(/ 0 +170$/);
    expect(lines.filter((line) => line.length > 79)).toEqual([]);
  });

  it('writes times as people read them', () => {
    expect([0.26, 12.4, 999, 2_000].map(milliseconds)).toEqual(['0.3 ms', '12 ms', '999 ms', '2.00 s']);
  });
});
