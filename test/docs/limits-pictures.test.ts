import { fileURLToPath } from 'node:url';
import { it } from 'vitest';
import { expectGolden } from '../harness/golden.ts';
import { bulkheadPicture } from './bulkhead-picture.ts';
import { hedgingPicture } from './hedging-picture.ts';
import { adaptivePicture, loadSheddingPicture, rateLimitPicture } from './limits-pictures.ts';
import { retryPicture } from './retry-picture.ts';

it.each([
  ['rate-limit', rateLimitPicture],
  ['adaptive-bulkhead', adaptivePicture],
  ['bulkhead', bulkheadPicture],
  ['retries', retryPicture],
  ['hedging', hedgingPicture],
  ['load-shedding', loadSheddingPicture],
])('docs/pictures/%s.svg shows what the state machine does', (name, draw) => {
  expectGolden(fileURLToPath(new URL(`../../docs/pictures/${name}.svg`, import.meta.url)), draw());
});
