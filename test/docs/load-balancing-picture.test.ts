import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { expectGolden } from '../harness/golden.ts';
import { loadBalancingPanels, loadBalancingPicture } from './load-balancing-picture.ts';

it('docs/pictures/load-balancing.svg shows what the algorithms do, and what its title says', () => {
  const panels = loadBalancingPanels();
  const picture = fileURLToPath(new URL('../../docs/pictures/load-balancing.svg', import.meta.url));
  expectGolden(picture, loadBalancingPicture(panels));
  const [peakEwma, leastRequest, roundRobin] = panels;
  expect(peakEwma?.failedPercent).toBeLessThan(0.5);
  expect(Math.max(...(peakEwma?.slow.slice(22, 50) ?? []))).toBeLessThan(2);
  expect(leastRequest?.failedPercent).toBeGreaterThan(21);
  expect(roundRobin?.failedPercent).toBeCloseTo(20, 0);
});
