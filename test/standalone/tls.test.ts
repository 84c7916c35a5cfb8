// TLS to a host outside, in standalone mode with all its real processes: authority and client certificate from the folder, and a new
// certificate without a restart.
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, expect, it, vi } from 'vitest';
import { stringify } from 'yaml';
import { TestDns } from '../../sidecar/resolve/test-dns.ts';
import { type Pair, TestAuthority } from '../../sidecar/tls/testing/certificates.ts';
import { call, Standalone, until } from './harness.ts';

vi.setConfig({ testTimeout: 90_000, hookTimeout: 60_000 });

const NAME = 'api.partner.example';
const closing: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

function secret({ cert, key }: Pair): string {
  return stringify({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 'partner-client', namespace: 'shop' },
    type: 'kubernetes.io/tls',
    stringData: { 'tls.crt': cert, 'tls.key': key },
  });
}

/** Answers with the name of the client. */
async function startHost(pair: Pair, authority: TestAuthority): Promise<Server> {
  const server = createServer({ ...pair, ca: authority.cert, requestCert: true }, (incoming, response) => {
    const socket = incoming.socket as TLSSocket;
    response.end(socket.authorized ? String(socket.getPeerCertificate().subject.CN) : 'nobody');
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return server;
}

it('speaks TLS to a host, shows a certificate from the folder, and a new one when that is there', async () => {
  const authority = await TestAuthority.create();
  const [pair, first, second] = await Promise.all([
    authority.host([NAME]),
    authority.client('first'),
    authority.client('second'),
  ]);
  const host = await startHost(pair, authority);
  const dns = await TestDns.start({ [NAME]: ['127.0.0.1'] });
  closing.push(() => dns.close());
  const tls = {
    port: (host.address() as AddressInfo).port,
    caCertificateRefs: [{ name: 'partners' }],
    clientCertificateRef: { name: 'partner-client' },
  };
  const declared = {
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ServiceDependency',
    metadata: { name: 'checkout', namespace: 'shop' },
    spec: {
      consumer: { selector: { matchLabels: { app: 'checkout' } } },
      dependsOn: [{ name: 'partner', host: { name: NAME, port: 80, tls } }],
    },
  };
  const bundle = {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'partners', namespace: 'shop' },
    data: { 'ca.crt': authority.cert },
  };
  const running = new Standalone(
    { 'shop.yaml': stringify(declared), 'bundle.yaml': stringify(bundle), 'client.yaml': secret(first) },
    undefined,
    { BREAKWATER_DNS_SERVERS: dns.server },
  );
  closing.push(() => running.cleanUp());
  const { workloads } = await running.ready();
  const { admin = '', dependencies = {} } = workloads['shop/checkout'] ?? {};
  // DNS is asked when the plan is there.
  await until(async () => (await call(dependencies['partner'])).status === 200, 'the host is called');
  expect(await call(dependencies['partner'])).toMatchObject({ status: 200, body: 'first' });
  const metrics = await (await fetch(`${admin}/metrics`)).text();
  expect(metrics).toMatch(/breakwater_certificate_expires_timestamp_seconds\{[^}]*certificate="client"[^}]*\} \d+/);
  running.write('client.yaml', secret(second));
  await until(async () => (await call(dependencies['partner'])).body === 'second', 'the new certificate is used');
  for (const { key } of [first, second])
    for (const line of key.split('\n').filter((text) => text.length > 20)) expect(running.errors).not.toContain(line);
});
