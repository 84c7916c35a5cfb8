// Keeps the certificates: reads them, renews what is due, and tells who serves and who trusts when something changed. Every replica serves
// what is stored; the one that leads renews it, so that no two of them issue against each other.
import type { Server } from 'node:https';
import { createSecureContext } from 'node:tls';
import type { Clock } from '../../runtime/clock.ts';
import type { Logger } from '../../runtime/log.ts';
import type { Leadership } from '../elect/elector.ts';
import {
  type CertificateState,
  LIFETIMES,
  type Lifetimes,
  nextStep,
  type PartialState,
  type Step,
  servedAuthorities,
  servedChain,
} from './decide.ts';
import { createAuthority, issueServing, parseState } from './issue.ts';
import { messageOf } from './kubernetes-api.ts';
import type { CertificateStore, StoredDocument } from './store.ts';

/** How often the store is read again at most: for renewals, and for what another replica wrote. Several times within what is left of a life. */
const CHECK_INTERVAL_MS = 60_000;
const CHECKS_IN_A_LIFE = 40;
const RETRY_DELAY_MS = 1_000;
/** Rounds against other writers before a check gives up until the next one. */
const MAX_ATTEMPTS = 8;

export interface ServingPair {
  /** PEM: the certificate, and what leads from its authority to those before it. */
  certificate: string;
  privateKey: string;
}

export interface Certificates {
  /** Resolves when there are certificates to serve; retries for as long as the store cannot be read. Rejects only when stopped meanwhile. */
  start(): Promise<void>;
  stop(): void;
  /** Reads the store and renews now; what the timer does. Rejects where the store fails. */
  check(): Promise<void>;
  /** PEM of every trusted authority, newest first. */
  trustBundle(): string;
  /** PEM of the trusted authorities to which what is served leads; a client that knows any one of them trusts it. */
  anchors(): readonly string[];
  /** What to serve now. */
  serving(): ServingPair;
  /** Called after each change of the bundle or of what is served. The returned function removes the listener. */
  onChange(listener: () => void): () => void;
  /** Keeps a running HTTPS server on the certificate of the day; connections that are open stay as they are. */
  attach(server: Pick<Server, 'setSecureContext'>): () => void;
}

export interface CertificatesOptions {
  store: CertificateStore;
  /** DNS names and addresses under which clients know the operator. */
  names: readonly string[];
  /** Who does not lead writes nothing, and takes what it finds. */
  leadership: Pick<Leadership, 'role' | 'onChange'>;
  lifetimes?: Lifetimes;
  clock: Clock;
  log: Logger;
}

const bundleOf = (state: CertificateState) => `${state.authorities.map((one) => one.certificate.trim()).join('\n')}\n`;

async function perform(
  state: PartialState,
  step: Step,
  names: readonly string[],
  nowUnixMs: number,
  lifetimes: Lifetimes,
): Promise<PartialState> {
  if (step.kind === 'AddAuthority') {
    const [newest] = state.authorities;
    return { ...state, authorities: [await createAuthority(nowUnixMs, lifetimes, newest), ...state.authorities] };
  }
  if (step.kind === 'DropAuthority') {
    return { ...state, authorities: state.authorities.filter((one) => one.id !== step.id) };
  }
  const issuer = state.authorities.find((one) => one.id === step.issuer);
  if (!issuer) throw new Error(`there is no authority ${step.issuer}`);
  return { ...state, serving: await issueServing(issuer, names, nowUnixMs, lifetimes) };
}

export function createCertificates(options: CertificatesOptions): Certificates {
  const { store, names, leadership, lifetimes = LIFETIMES, clock, log } = options;
  const checkIntervalMs = Math.min(CHECK_INTERVAL_MS, lifetimes.servingMs / CHECKS_IN_A_LIFE);
  const listeners = new Set<() => void>();
  let current: CertificateState | undefined;
  let checking: Promise<void> = Promise.resolve();
  let stopped = false;
  let cancelTimer = () => {};
  let stopListening = () => {};

  const known = (): CertificateState => {
    if (!current) throw new Error('the certificates were asked for before they were there');
    return current;
  };

  function adopt(next: CertificateState): void {
    const changed =
      current === undefined || bundleOf(current) !== bundleOf(next) || servedChain(current) !== servedChain(next);
    if (!changed) return;
    // Refuses a key that does not belong to its certificate, before anybody serves it.
    createSecureContext({ cert: servedChain(next), key: next.serving.privateKey });
    current = next;
    log.info(
      {
        authorities: next.authorities.length,
        servingUntilUnixMs: next.serving.notAfterUnixMs,
        serial: next.serving.id,
      },
      'certificates loaded',
    );
    for (const listener of listeners) {
      try {
        listener();
      } catch (error) {
        log.error({ err: error }, 'a listener for certificates failed');
      }
    }
  }

  function complete({ authorities, serving }: PartialState): CertificateState {
    if (!serving) throw new Error('no serving certificate was issued');
    return { formatVersion: 1, authorities: [...authorities], serving };
  }

  /** What is stored; where it vanished, what this process still holds, so that no sidecar loses the authority it trusts. */
  function startingPoint(document: StoredDocument | undefined): PartialState {
    if (document !== undefined && document.text !== '') return parseState(document.text);
    return current ?? { authorities: [], serving: undefined };
  }

  async function round(): Promise<boolean> {
    const document = await store.read();
    const now = clock.unixMs();
    let state = startingPoint(document);
    let changed = document === undefined || document.text === '';
    if (leadership.role !== 'Leading') {
      if (changed) throw new Error('the replica that leads has not made them yet');
      adopt(complete(state));
      return true;
    }
    for (let step = nextStep(state, names, now, lifetimes); step; step = nextStep(state, names, now, lifetimes)) {
      log.info({ step: step.kind, because: step.because }, 'certificates change');
      state = await perform(state, step, names, now, lifetimes);
      changed = true;
    }
    const next = complete(state);
    if (changed && !(await store.write(JSON.stringify(next), bundleOf(next), document))) return false;
    adopt(next);
    return true;
  }

  /** One after the other: of two looks the later answer may be the older one, and what was served before would be served again. */
  function check(): Promise<void> {
    const turn = checking.then(checkNext);
    checking = turn.catch(() => undefined);
    return turn;
  }

  async function checkNext(): Promise<void> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
      if (await round()) return;
    }
    throw new Error(`${store.name} was changed by others ${MAX_ATTEMPTS} times in a row`);
  }

  function schedule(): void {
    if (stopped) return;
    cancelTimer();
    cancelTimer = clock.after(checkIntervalMs, checkNow);
  }

  function checkNow(): void {
    check()
      .catch((error: unknown) => log.warn({ err: error, store: store.name }, 'certificates could not be checked'))
      .finally(schedule);
  }

  function serving(): ServingPair {
    return { certificate: servedChain(known()), privateKey: known().serving.privateKey };
  }

  return {
    async start() {
      for (;;) {
        if (stopped) throw new Error('stopped before there were certificates');
        try {
          await check();
          break;
        } catch (error) {
          log.warn({ reason: messageOf(error), store: store.name }, 'no certificates yet, trying again');
          await clock.sleep(RETRY_DELAY_MS);
        }
      }
      // What was due while nobody led does not wait for the next look.
      stopListening = leadership.onChange(() => {
        if (leadership.role === 'Leading') checkNow();
      });
      schedule();
    },
    stop() {
      stopped = true;
      stopListening();
      cancelTimer();
    },
    check,
    trustBundle: () => bundleOf(known()),
    anchors: () => servedAuthorities(known()).map((one) => one.certificate.trim()),
    serving,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    attach(server) {
      const apply = () => {
        const { certificate, privateKey } = serving();
        server.setSecureContext({ cert: certificate, key: privateKey });
      };
      apply();
      listeners.add(apply);
      return () => listeners.delete(apply);
    },
  };
}
