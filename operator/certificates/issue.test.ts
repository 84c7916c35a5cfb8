import { X509Certificate } from 'node:crypto';
import { connect, createServer } from 'node:tls';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createAuthority, issueServing, parseState } from './issue.ts';

const DAY_MS = 86_400_000;
const NAMES = ['breakwater-operator.breakwater-system.svc', 'localhost', '127.0.0.1'];

describe('what is issued', () => {
  const now = Date.UTC(2030, 0, 1, 12, 0, 0, 500);

  test('is what X.509 readers expect', async () => {
    const ca = await createAuthority(now);
    const leaf = await issueServing(ca, NAMES, now);
    const root = new X509Certificate(ca.certificate);
    const certificate = new X509Certificate(leaf.certificate);
    expect(root.ca).toBe(true);
    expect(certificate.ca).toBe(false);
    expect(certificate.checkIssued(root)).toBe(true);
    expect(certificate.verify(root.publicKey)).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(certificate.subjectAltName).toBe(`DNS:${NAMES[0]}, DNS:localhost, IP Address:127.0.0.1`);
    expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(certificate.serialNumber.toLowerCase()).toBe(leaf.id);
    expect(Date.parse(certificate.validTo)).toBe(leaf.notAfterUnixMs);
    expect(Date.parse(root.validFrom)).toBe(ca.notBeforeUnixMs);
  });

  test('never outlives its authority', async () => {
    const ca = await createAuthority(now);
    const leaf = await issueServing(ca, NAMES, ca.notAfterUnixMs - DAY_MS);
    expect(leaf.notAfterUnixMs).toBe(ca.notAfterUnixMs);
  });

  test.each([
    ['no JSON', 'x', 'not JSON'],
    ['no state', '{}', 'formatVersion'],
    ['an unreadable certificate', undefined, 'cannot be read'],
  ])('%s is told, not replaced', async (_name, text, message) => {
    const ca = await createAuthority(now);
    const state = {
      formatVersion: 1,
      authorities: [{ ...ca, certificate: '-----BEGIN CERTIFICATE-----' }],
      serving: await issueServing(ca, NAMES, now),
    };
    expect(() => parseState(text ?? JSON.stringify(state))).toThrow(message);
  });
});

test('a server without certificates of ours is not mistaken for one', async () => {
  const mine = await createAuthority(Date.now());
  const foreign = await createAuthority(Date.now());
  const leaf = await issueServing(foreign, ['localhost'], Date.now());
  const server = createServer({ cert: leaf.certificate, key: leaf.privateKey });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const { port } = server.address() as { port: number };
  await expect(
    new Promise((resolve, reject) => {
      connect({ host: '127.0.0.1', port, servername: 'localhost', ca: mine.certificate }, () => resolve('trusted')).on(
        'error',
        reject,
      );
    }),
  ).rejects.toThrow();
});
