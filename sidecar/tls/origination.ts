// TLS of one dependency: its credentials as they are now, the sessions that may be resumed, and what last went wrong. All its endpoints share
// it, and none of it is shared with another dependency.
//
// Whenever settings or credentials change, `generation` does: connections and sessions of an older one finish what they do, and are not used
// again. What is broken never takes the place of what works: the last good credentials stay, and the problem is told.
import type { OnReadOpts, Socket } from 'node:net';
import type { SecureContext, TLSSocket } from 'node:tls';
import type { TlsPlan } from '../../plan/certificates.ts';
import type { Logger } from '../../runtime/log.ts';
import { TcpUpstreamSocket, type UpstreamSocket } from '../proxy/upstream/upstream-socket.ts';
import type { CertificateSource } from './certificate-files.ts';
import { type Credentials, readCredentials } from './credentials.ts';
import { isLasting, NO_CERTIFICATES, NO_HTTP2, sentenceOf, type TlsFailure } from './failures.ts';
import { SessionCache } from './session-cache.ts';
import { connectTls, type TlsConnectOptions } from './tls-socket.ts';

/** Of the connection to a host, each its own. */
export interface HostTlsProblem {
  /** Of the certificates that this sidecar has been given; empty: none. */
  certificates: readonly string[];
  /** What the last handshake failed of, where somebody has to mend it; null: nothing. */
  handshake: TlsFailure | null;
}

/** When what is used expires, Unix milliseconds; infinity: there is none, or it is not known yet. */
export interface Expiries {
  authority: number;
  client: number;
  /** What the host showed last. */
  host: number;
}

export interface OriginationEnvironment {
  certificates: Pick<CertificateSource, 'read'>;
  unixMs: () => number;
  log: Logger;
  /** What is to be told of it has changed. */
  onProblem: () => void;
  /** A handshake was finished. */
  onHandshake: (resumed: boolean) => void;
}

export class TlsOrigination {
  /** Of the settings and credentials that are in force. */
  generation = 0;
  readonly #dependency: string;
  readonly #environment: OriginationEnvironment;
  #plan: TlsPlan;
  #credentials: Credentials | null = null;
  #context: SecureContext | null = null;
  #problems: readonly string[] = [];
  /** When time alone changes what there is to tell. */
  #lookAgainUnixMs = Number.POSITIVE_INFINITY;
  #handshake: TlsFailure | null = null;
  #hostExpiresUnixMs = Number.POSITIVE_INFINITY;
  readonly #sessions = new SessionCache();

  /** `dependency`: its identity, for the log. */
  constructor(dependency: string, plan: TlsPlan, environment: OriginationEnvironment) {
    this.#dependency = dependency;
    this.#environment = environment;
    this.#plan = plan;
    this.#load();
  }

  get plan(): TlsPlan {
    return this.#plan;
  }

  get problem(): HostTlsProblem {
    return { certificates: this.#problems, handshake: this.#handshake };
  }

  get expiries(): Expiries {
    return {
      authority: this.#credentials?.authorities?.expiresUnixMs ?? Number.POSITIVE_INFINITY,
      client: this.#credentials?.client?.expiresUnixMs ?? Number.POSITIVE_INFINITY,
      host: this.#hostExpiresUnixMs,
    };
  }

  update(plan: TlsPlan): void {
    if (JSON.stringify(plan) === JSON.stringify(this.#plan)) return;
    this.#plan = plan;
    // What was good for another plan is not this one's, whether or not there is anything in its place yet.
    this.generation++;
    this.#sessions.clear();
    this.#credentials = null;
    this.#context = null;
    this.#handshake = null;
    this.#hostExpiresUnixMs = Number.POSITIVE_INFINITY;
    this.#load();
  }

  /** Some file has changed. */
  refresh(): void {
    this.#load();
  }

  /** To be called now and then: certificates know of time. */
  sweep(): void {
    if (this.#environment.unixMs() >= this.#lookAgainUnixMs) this.#load();
  }

  connect(endpoint: string, address: string, port: number, onread: OnReadOpts): UpstreamSocket {
    return this.#connect(endpoint, { address, port, alpn: 'http/1.1', onread }) ?? unmade();
  }

  /** A connection that speaks HTTP/2. */
  dial(endpoint: string, address: string, port: number): Socket {
    const socket = this.#connect(endpoint, { address, port, alpn: 'h2', onread: undefined });
    if (socket === null) return unmade();
    socket.once('secureConnect', () => {
      if (socket.alpnProtocol !== 'h2') socket.destroy(failed(NO_HTTP2, 'the host does not speak HTTP/2'));
    });
    return socket;
  }

  /** A connection was not made, or refused before anything came on it. */
  handshakeFailed(failure: TlsFailure, endpoint: string, error: Error): void {
    const { log, onProblem } = this.#environment;
    if (failure === 'tls-certificates' || !isLasting(failure) || failure === this.#handshake) return;
    this.#handshake = failure;
    const facts = { dependency: this.#dependency, endpoint, failure, detail: error.message.slice(0, 256) };
    log.warn(facts, sentenceOf(failure));
    onProblem();
  }

  #connect(
    endpoint: string,
    how: Pick<TlsConnectOptions, 'address' | 'port' | 'alpn' | 'onread'>,
  ): (TLSSocket & UpstreamSocket) | null {
    const context = this.#context;
    if (context === null) return null;
    const { generation } = this;
    const place = `${how.alpn} ${endpoint}`;
    const { unixMs } = this.#environment;
    const session = this.#sessions.take(place, unixMs());
    const socket = connectTls({ ...how, context, serverName: this.#plan.serverName, session: session?.ticket });
    socket.once('secureConnect', () => {
      if (generation === this.generation) this.#connected(socket);
    });
    socket.on('session', (ticket) => {
      if (generation !== this.generation) return;
      const verified = session !== undefined && socket.isSessionReused() ? session.verifiedUnixMs : unixMs();
      this.#sessions.give(place, ticket, socket.getProtocol() === 'TLSv1.3', verified);
    });
    return socket;
  }

  #connected(socket: TLSSocket): void {
    const { log, onHandshake, onProblem } = this.#environment;
    onHandshake(socket.isSessionReused());
    if (!socket.isSessionReused()) this.#hostExpiresUnixMs = Date.parse(socket.getPeerCertificate().valid_to);
    // In TLS 1.3 nobody knows yet whether the host takes our certificate: its first byte tells.
    if (this.#handshake === null || this.#handshake === 'tls-client-certificate') return;
    this.#handshake = null;
    log.info({ dependency: this.#dependency }, 'TLS to the host works again');
    onProblem();
  }

  /** The host has answered: it has taken the connection, with all that we have shown. */
  answered(): void {
    if (this.#handshake === null) return;
    this.#handshake = null;
    this.#environment.log.info({ dependency: this.#dependency }, 'TLS to the host works again');
    this.#environment.onProblem();
  }

  #load(): void {
    const { certificates, log, onProblem, unixMs } = this.#environment;
    const { credentials, problems } = readCredentials(
      this.#plan,
      (file) => certificates.read(file),
      this.#credentials,
      unixMs(),
    );
    const clientExpiresUnixMs = credentials?.client?.expiresUnixMs ?? Number.POSITIVE_INFINITY;
    this.#lookAgainUnixMs = clientExpiresUnixMs > unixMs() ? clientExpiresUnixMs : Number.POSITIVE_INFINITY;
    const all = [...problems];
    if (credentials !== null && (this.#context === null || !sameCredentials(credentials, this.#credentials)))
      this.#use(credentials, all);
    if (all.join('\n') === this.#problems.join('\n')) return;
    this.#problems = all;
    const facts = { dependency: this.#dependency, problems: all };
    if (all.length > 0) log.warn(facts, 'certificates for TLS to the host are not as they should be');
    else log.info(facts, 'certificates for TLS to the host are as they should be');
    onProblem();
  }

  #use(credentials: Credentials, problems: string[]): void {
    const { authorities, client } = credentials;
    try {
      this.#context = process.getBuiltinModule('node:tls').createSecureContext({
        minVersion: 'TLSv1.2',
        // Without `ca`, those of Mozilla that come with Node.
        ...(authorities === null ? {} : { ca: [...authorities.ca] }),
        ...(client === null ? {} : { cert: client.cert, key: client.key }),
      });
    } catch (error) {
      // Each part was read before; OpenSSL may still refuse what it finds too weak, say.
      problems.push(
        `the certificates cannot be used: ${(error as NodeJS.ErrnoException).code ?? 'unknown'}; replace them`,
      );
      return;
    }
    this.#credentials = credentials;
    this.#handshake = null;
    this.generation++;
    this.#sessions.clear();
  }
}

function sameCredentials(one: Credentials, other: Credentials | null): boolean {
  return (
    one.client?.cert === other?.client?.cert &&
    one.client?.key === other?.client?.key &&
    one.authorities?.ca.join('') === other?.authorities?.ca.join('')
  );
}

/** A connection that is not even begun: it ends by itself, in a moment. */
function unmade(): UpstreamSocket {
  const socket = new TcpUpstreamSocket();
  socket.destroy(failed(NO_CERTIFICATES, 'the certificates for it are missing'));
  return socket;
}

function failed(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
