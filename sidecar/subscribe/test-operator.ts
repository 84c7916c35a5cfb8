// An operator for tests: real TLS and HTTP, and a script instead of a mind.
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import {
  BasicConstraintsExtension,
  type JsonGeneralNames,
  PemConverter,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { EndpointsFrame, PlanFrame } from '../../plan/wire.ts';
import { encodeFrame, PATHS, REPLICA_HEADER } from '../../plan/wire.ts';
import { systemClock } from '../../runtime/clock.ts';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HEARTBEAT_MS = 100;
const VALID = { notBefore: new Date('2020-01-01'), notAfter: new Date('2099-01-01') };

export interface TestIdentity {
  ca: string;
  cert: string;
  key: string;
}

/** A new authority and a certificate of it for these names. */
export async function createIdentity(
  names: JsonGeneralNames = [{ type: 'ip', value: '127.0.0.1' }],
): Promise<TestIdentity> {
  const authorityKeys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const name = `CN=authority ${webcrypto.randomUUID()}`;
  const authority = await X509CertificateGenerator.createSelfSigned({
    ...VALID,
    name,
    keys: authorityKeys,
    signingAlgorithm: ALGORITHM,
    extensions: [new BasicConstraintsExtension(true, 1, true)],
  });
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.create({
    ...VALID,
    subject: 'CN=operator',
    issuer: name,
    publicKey: keys.publicKey,
    signingKey: authorityKeys.privateKey,
    signingAlgorithm: ALGORITHM,
    extensions: [new SubjectAlternativeNameExtension(names)],
  });
  const key = PemConverter.encode(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey), 'PRIVATE KEY');
  return { ca: authority.toString('pem'), cert: certificate.toString('pem'), key };
}

export class TestStream {
  readonly version: string | null;
  readonly authorization: string;
  readonly #response: ServerResponse;
  closed = false;
  #cancelHeartbeat: () => void = () => {};

  constructor(url: URL, request: IncomingMessage, response: ServerResponse, replica: string) {
    this.version = url.searchParams.get('version');
    this.authorization = request.headers.authorization ?? '';
    this.#response = response;
    this.#beat();
    response.on('close', () => {
      this.mute();
      this.closed = true;
    });
    const named = replica === '' ? {} : { [REPLICA_HEADER]: replica };
    response.writeHead(200, { 'content-type': 'application/x-ndjson', ...named });
    response.flushHeaders();
  }

  send(...frames: (PlanFrame | EndpointsFrame)[]): void {
    this.sendRaw(frames.map(encodeFrame).join(''));
  }

  sendRaw(text: string | Buffer): void {
    this.#response.write(text);
  }

  /** No more heartbeats. */
  mute(): void {
    this.#cancelHeartbeat();
  }

  #beat(): void {
    this.#cancelHeartbeat = systemClock.after(HEARTBEAT_MS, () => {
      this.send({ kind: 'heartbeat' });
      this.#beat();
    });
  }

  cut(): void {
    this.#response.socket?.destroy();
  }
}

type Report = Record<string, unknown>;

export class TestOperator {
  readonly #server: Server;
  readonly #streams = { plan: new Mailbox<TestStream>(), endpoints: new Mailbox<TestStream>() };
  readonly #reports = { acknowledgements: new Mailbox<Report>(), circuits: new Mailbox<Report>() };
  /** How many reports of any kind arrived. */
  reportCount = 0;
  /** A status to answer everything with, instead of what was asked for. */
  refuseWith: number | null = null;
  /** Name of the replica that streams which open now are held by; empty: it does not say. */
  replica = '';
  /** Of each report, the replica that it names. */
  readonly named: string[] = [];

  readonly port: number;

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
    server.on('request', (request, response) => this.#onRequest(request, response));
  }

  static async start(identity: TestIdentity, port = 0): Promise<TestOperator> {
    const server = createServer({ cert: identity.cert, key: identity.key });
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
    return new TestOperator(server);
  }

  get url(): URL {
    return new URL(`https://127.0.0.1:${this.port}`);
  }

  /** The next stream of this kind that was opened, not taken yet, and is still open. */
  async stream(kind: 'plan' | 'endpoints'): Promise<TestStream> {
    for (;;) {
      const stream = await this.#streams[kind].take();
      if (!stream.closed) return stream;
    }
  }

  report(kind: 'acknowledgements' | 'circuits'): Promise<Report> {
    return this.#reports[kind].take();
  }

  useIdentity(identity: TestIdentity): void {
    this.#server.setSecureContext({ cert: identity.cert, key: identity.key });
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '', 'https://operator');
    if (this.refuseWith !== null) {
      request.resume();
      response.writeHead(this.refuseWith).end(JSON.stringify({ reason: 'Scripted', message: 'the script says so' }));
    } else if (url.pathname === PATHS.plan) {
      this.#streams.plan.put(new TestStream(url, request, response, this.replica));
    } else if (url.pathname === PATHS.endpoints) {
      this.#streams.endpoints.put(new TestStream(url, request, response, this.replica));
    } else {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      request.on('end', () => {
        this.reportCount += 1;
        this.named.push(String(request.headers[REPLICA_HEADER] ?? ''));
        const kind = url.pathname === PATHS.circuits ? 'circuits' : 'acknowledgements';
        this.#reports[kind].put(JSON.parse(body) as Report);
        response.writeHead(204).end();
      });
    }
  }
}

/** What is put is taken once, in order; whoever takes first waits. */
class Mailbox<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  put(item: T): void {
    const next = this.#waiting.shift();
    if (next) next(item);
    else this.#items.push(item);
  }

  take(): Promise<T> {
    const item = this.#items.shift();
    return item === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(item);
  }
}
