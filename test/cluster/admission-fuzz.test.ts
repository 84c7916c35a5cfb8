// Ten thousand random pods through an API server of the cluster's version, with our webhook registered: nothing runs, so it needs no node. What must
// hold of each is in operator/inject/testing/admission-fuzz.ts.
import { afterAll, beforeAll, test } from 'vitest';
import { expectVariety, fuzzPods, startFuzz } from '../../operator/inject/testing/admission-fuzz.ts';
import type { RegisteredInjector } from '../../operator/inject/testing/registered-injector.ts';

const PODS = 10_000;
/** Others than those of `npm test`. */
const FIRST = 1_000_000;

let injector: RegisteredInjector;
beforeAll(async () => {
  injector = await startFuzz();
});
afterAll(() => injector?.stop());

test(`${PODS} random pods`, { timeout: 900_000 }, async () => {
  expectVariety(
    await fuzzPods(
      injector,
      Array.from({ length: PODS }, (_, index) => FIRST + index),
    ),
  );
});
