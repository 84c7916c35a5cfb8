// Which declared host a request or a TLS connection names. PURE.
//
// Under capture `iptables` a connection shows an address, and an address says nothing about a host outside the cluster: many share one, and
// each has many. So what names the host is asked: Host in HTTP/1.x, the server name in TLS.
import { HeadDetail } from '../../http1/errors.ts';
import { MAX_HEAD_BYTES } from '../../http1/limits.ts';
import { parseRequestHead, RequestHead } from '../../http1/request-head.ts';
import { readClientHello } from './client-hello.ts';
import { classifyFirstBytes, FirstBytes, hopelessHead } from './first-bytes.ts';

const HEAD_END = Buffer.from('\r\n\r\n', 'latin1');
const TLS_HANDSHAKE = 0x16;

export interface DeclaredHost {
  name: string;
  port: number;
}

export class HostIndex<Owner> {
  readonly #owners = new Map<string, Owner>();
  readonly #ports = new Set<number>();

  /** The first one stays where two declare the same. */
  add({ name, port }: DeclaredHost, owner: Owner): void {
    const key = keyOf(name, port);
    if (!this.#owners.has(key)) this.#owners.set(key, owner);
    this.#ports.add(port);
  }

  /** Connections to other ports need not be looked at. */
  hasPort(port: number): boolean {
    return this.#ports.has(port);
  }

  /** `host`: a Host field or a server name, of a connection that was made to this port. */
  match(host: string, port: number): Owner | null {
    const name = nameIn(host, port);
    return name === null ? null : (this.#owners.get(keyOf(name, port)) ?? null);
  }
}

/** The name without its port; null where the port is another one, or the name is an IPv6 address. */
function nameIn(host: string, port: number): string | null {
  const colon = host.indexOf(':');
  if (colon < 0) return host;
  return host.slice(colon + 1) === String(port) ? host.slice(0, colon) : null;
}

/** Names are the same in any case, and with a final dot. */
function keyOf(name: string, port: number): string {
  return `${(name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase()}:${port}`;
}

/**
 * Reads the first bytes of one connection for the host that they name. Its verdict is one of FirstBytes: Http only for a head that is
 * whole, so that the host is known; Opaque for all that is to be passed on as it is, which a declared host may be.
 */
export class HostClaim {
  /** As the connection names it; null: it names none, or not yet. */
  host: string | null = null;
  readonly #head = new RequestHead();

  judge(bytes: Buffer): number {
    const kind = classifyFirstBytes(bytes);
    if (kind === FirstBytes.Http) return this.#judgeHead(bytes);
    if (kind === FirstBytes.MethodSeen) return FirstBytes.NeedMore;
    if (kind === FirstBytes.Opaque && bytes[0] === TLS_HANDSHAKE) return this.#judgeHello(bytes);
    return kind;
  }

  /** These are the beginning of a request, or may be, and do not name its host yet. */
  isUnfinished(bytes: Buffer): boolean {
    return bytes[0] !== TLS_HANDSHAKE && this.judge(bytes) === FirstBytes.NeedMore;
  }

  /** A head that the codec would refuse belongs to nobody: it goes on as it came. */
  #judgeHead(bytes: Buffer): number {
    const start = bytes[0] === 0x0d ? 2 : 0;
    const end = bytes.indexOf(HEAD_END, start);
    if (end < 0 || end - start > MAX_HEAD_BYTES) {
      if (bytes.length - start > MAX_HEAD_BYTES) return FirstBytes.Opaque;
      return hopelessHead(bytes, start, bytes.length, this.#head) === HeadDetail.None
        ? FirstBytes.NeedMore
        : FirstBytes.Opaque;
    }
    if (parseRequestHead(bytes.latin1Slice(start, end), this.#head) !== HeadDetail.None) return FirstBytes.Opaque;
    this.host = this.#head.host;
    return FirstBytes.Http;
  }

  #judgeHello(bytes: Buffer): number {
    const hello = readClientHello(bytes);
    if (hello.kind === 'need-more') return FirstBytes.NeedMore;
    if (hello.kind === 'hello') this.host = hello.serverName;
    return FirstBytes.Opaque;
  }
}
