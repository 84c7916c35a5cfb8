// What passes over the wires of a sidecar, read by the side: when each attempt began, and when each answer was over.
import type { Host } from './host.ts';
import type { CallRecord, Ledger } from './ledger.ts';
import type { Probes } from './probes.ts';
import { ResponseReader } from './response-reader.ts';
import type { SimulatedSocket } from './socket.ts';
import { demand } from './violation.ts';

/** Of the timers of the data path: two slots of its wheel, the one of the time and the one of the tick. */
export const TICKS_MS = 10;
/** After a pause of the process, answers that came meanwhile are read before anything is timed out. */
const AFTER_PAUSE_MS = 20;

export class Wiretap {
  readonly #ledger: Ledger;
  readonly #probes: Probes;
  /** Requests whose answer is not over yet, and has to be by a deadline. */
  readonly #owed = new Set<CallRecord>();

  constructor(ledger: Ledger, probes: Probes) {
    this.#ledger = ledger;
    this.#probes = probes;
  }

  /** A connection that a sidecar makes to a server. */
  upstream(socket: SimulatedSocket): void {
    const { host } = socket;
    const madeMs = host.time.nowMs;
    let fresh = true;
    socket.onWrite = (bytes) => {
      const id = requestIn(bytes);
      if (id === 0) return;
      const call = this.#ledger.attempted(id);
      this.began(call, fresh ? madeMs : host.time.nowMs);
      fresh = false;
    };
  }

  /** A connection of an application to its sidecar; the socket is the application's. */
  downstream(socket: SimulatedSocket, sidecar: Host): SimulatedSocket {
    socket.once('connect', () => {
      const { peer } = socket;
      if (peer === null) return;
      let call: CallRecord | null = null;
      let last: CallRecord | null = null;
      const over = () => {
        const ended = call;
        call = null;
        if (ended !== null) this.waited(ended, sidecar);
      };
      const reader = new ResponseReader({
        onHead: (response) => {
          // From the head of a stream on only silence ends it.
          if (response.status === 101 || response.headers.get('content-type') === 'text/event-stream') {
            if (call !== null) this.#owed.delete(call);
            call = null;
          }
        },
        onBody: () => {},
        onEnd: over,
        onNonsense: (what) => this.#ledger.nonsense(last, what),
      });
      socket.onWrite = (bytes) => {
        const id = requestIn(bytes);
        if (id > 0) {
          last = call = this.#ledger.get(id);
          this.#owed.add(call);
        }
        const method = /^([A-Z]+) /.exec(bytes.toString('latin1', 0, 10))?.[1];
        if (method !== undefined) reader.expect(method);
      };
      peer.onWrite = (bytes) => reader.push(bytes);
      peer.once('close', () => {
        reader.end();
        over();
      });
    });
    return socket;
  }

  began(call: CallRecord, atMs: number): void {
    const { policy } = call;
    if (policy === null) return;
    demand(
      atMs < call.deadlineMs,
      () => `request ${call.id} began an attempt ${atMs - call.deadlineMs} ms after its deadline`,
    );
    const isFree = call.attempts > 1 && call.mayGoAgain && !call.wentAgain;
    if (isFree) call.wentAgain = true;
    this.#probes.sent(policy, call.attempts > 1 && !isFree);
  }

  /** Over HTTP/2: an application has sent it, or is told no end of by a deadline any more. */
  owed(call: CallRecord, isOwed: boolean): void {
    if (isOwed) this.#owed.add(call);
    else this.#owed.delete(call);
  }

  /** Until now: the sidecar has written the last byte of the answer or ended the connection, or the application does not wait any longer. */
  waited(call: CallRecord, sidecar: Host): void {
    if (!this.#owed.delete(call)) return;
    const pausedMs = sidecar.pausedSince(call.begunMs);
    const allowedMs = TICKS_MS + (pausedMs > 0 ? pausedMs + AFTER_PAUSE_MS : 0);
    const lateMs = sidecar.time.nowMs - call.deadlineMs;
    demand(lateMs <= allowedMs, () => `request ${call.id} outlived its deadline by ${lateMs} ms`);
  }
}

/** The id of the request whose head begins here; 0: no head does. */
function requestIn(bytes: Buffer): number {
  const first = bytes[0] ?? 0;
  if (first < 0x41 || first > 0x5a) return 0;
  const end = bytes.indexOf('\r\n\r\n');
  return Number(
    /\r\nX-Correlation-ID: simulation-(\d+)\r\n/.exec(bytes.toString('latin1', 0, end < 0 ? bytes.length : end))?.[1] ??
      0,
  );
}
