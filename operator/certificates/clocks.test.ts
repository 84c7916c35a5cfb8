// Certificates that were made while a clock was wrong.
import { X509Certificate } from 'node:crypto';
import { afterEach, expect, test } from 'vitest';
import { silentLogger } from '../../runtime/log.ts';
import { ManualClock } from '../../runtime/manual-clock.ts';
import { ALWAYS_LEADING } from '../elect/elector.ts';
import { type Certificates, createCertificates } from './certificates.ts';
import { MemoryStore } from './memory-store.ts';

const DAY_MS = 86_400_000;
const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

async function started(clock: ManualClock, store = new MemoryStore()): Promise<Certificates> {
  const options = { store, names: ['localhost'], leadership: ALWAYS_LEADING, clock, log: silentLogger };
  const certificates = createCertificates(options);
  cleanUps.push(() => certificates.stop());
  await certificates.start();
  return certificates;
}

/** Whether the certificate that is served, and an authority of the bundle that signed it, are valid now. */
function isValid(certificates: Certificates, nowUnixMs: number): boolean {
  const read = (pem: string) =>
    (pem.match(/-----BEGIN[\s\S]+?END CERTIFICATE-----/g) ?? []).map((one) => new X509Certificate(one));
  const holdsNow = (it: X509Certificate) =>
    it.validFromDate.getTime() <= nowUnixMs && nowUnixMs < it.validToDate.getTime();
  const [served] = read(certificates.serving().certificate);
  if (served === undefined) throw new Error('nothing is served');
  return (
    holdsNow(served) && read(certificates.trustBundle()).some((root) => holdsNow(root) && served.checkIssued(root))
  );
}

test.each([
  ['a day', DAY_MS],
  ['thirty years', 30 * 365 * DAY_MS],
])('made while the clock was ahead by %s, they are made anew once it is set right', async (_much, aheadMs) => {
  const clock = new ManualClock();
  clock.wallStepMs = aheadMs;
  const certificates = await started(clock);
  expect(isValid(certificates, clock.unixMs())).toBe(true);
  clock.wallStepMs = 0;
  await certificates.check();
  expect(isValid(certificates, clock.unixMs())).toBe(true);
  // And then they rest.
  const { certificate } = certificates.serving();
  await certificates.check();
  expect(certificates.serving().certificate).toBe(certificate);
});

test('a leader whose clock is ahead and one whose clock is right do not undo what the other made', async () => {
  const store = new MemoryStore();
  const ahead = new ManualClock();
  ahead.wallStepMs = 2 * DAY_MS;
  const right = new ManualClock();
  const first = await started(ahead, store);
  const second = await started(right, store);
  expect(isValid(second, right.unixMs())).toBe(true);
  const { writes } = store;
  for (const certificates of [first, second, first, second]) {
    await certificates.check();
    expect(isValid(certificates, right.unixMs())).toBe(true);
    expect(isValid(certificates, ahead.unixMs())).toBe(true);
  }
  expect(store.writes).toBe(writes);
});

test('a clock that was behind by years is made up for when it is set right', async () => {
  const clock = new ManualClock();
  clock.wallStepMs = -11 * 365 * DAY_MS;
  const certificates = await started(clock);
  clock.wallStepMs = 0;
  await certificates.check();
  expect(isValid(certificates, clock.unixMs())).toBe(true);
});
