// Five hundred random pods; test/cluster/admission-fuzz.test.ts tries ten thousand. SEED=7 tries that one alone, PODS=… more of them.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { readEnvironment } from '../../runtime/environment.ts';
import { expectVariety, fuzzPods, startFuzz } from './testing/admission-fuzz.ts';
import type { RegisteredInjector } from './testing/registered-injector.ts';

const { PODS, SEED } = readEnvironment(
  z.object({ PODS: z.coerce.number().int().min(1).default(500), SEED: z.coerce.number().int().min(0).optional() }),
);

let injector: RegisteredInjector;
beforeAll(async () => {
  injector = await startFuzz();
});
afterAll(() => injector?.stop());

if (SEED === undefined) {
  test(`${PODS} random pods`, { timeout: 600_000 }, async () => {
    const results = await fuzzPods(injector, [...Array(PODS).keys()]);
    if (PODS >= 500) expectVariety(results);
  });
} else {
  test(`random pod ${SEED}`, async () => {
    expect(Object.values(await fuzzPods(injector, [SEED]))).toContain(1);
  });
}
