// The endpoints stream: keeps the same sets as the operator, and says whether they are confirmed.

import type { EndpointSet } from '../../plan/endpoints.ts';
import { PLAN_LIMITS } from '../../plan/plan.ts';
import { decodeEndpointsFrame, type EndpointsFrame, PATHS } from '../../plan/wire.ts';
import type { Logger } from '../../runtime/log.ts';
import type { DataPlane } from '../data-plane.ts';
import { examineBadLine, versionInHead } from './bad-line.ts';
import type { Verdict } from './plan-follower.ts';
import type { LineVerdict, StreamFollower } from './stream-client.ts';

export interface EndpointsFollowerOptions {
  dataPlane: Pick<
    DataPlane,
    'applyEndpointsSnapshot' | 'applyEndpointsUpdate' | 'setPlacement' | 'setEndpointsStreamUp'
  >;
  log: Logger;
  /** The sets changed. */
  onApplied(): void;
  onVerdict(verdict: Verdict): void;
  onUp(): void;
  onDown(): void;
}

const KINDS: readonly EndpointsFrame['kind'][] = ['placement', 'snapshot', 'update', 'unchanged', 'heartbeat', 'end'];
const MAX_MESSAGE_LENGTH = 1024;

export class EndpointsFollower implements StreamFollower {
  readonly stream = 'endpoints';
  readonly #options: EndpointsFollowerOptions;
  #sets = new Map<string, EndpointSet>();
  #version: string | null = null;
  /** Something of the stream was not applied: ask for the whole. */
  #resync = false;
  /** A live stream has said that the sets are true. */
  #confirmed = false;

  constructor(options: EndpointsFollowerOptions) {
    this.#options = options;
  }

  get version(): string | null {
    return this.#version;
  }

  get confirmed(): boolean {
    return this.#confirmed;
  }

  sets(): EndpointSet[] {
    return [...this.#sets.values()];
  }

  /** Applies sets from disk, as unconfirmed ones; throws what the data path throws. */
  restore(version: string, sets: readonly EndpointSet[]): void {
    this.#options.dataPlane.applyEndpointsSnapshot(sets, true);
    this.#replace(version, sets);
  }

  path(): string {
    return this.#version === null || this.#resync
      ? PATHS.endpoints
      : `${PATHS.endpoints}?version=${encodeURIComponent(this.#version)}`;
  }

  onLine(line: string): LineVerdict {
    const decoded = decodeEndpointsFrame(line);
    if (!decoded.ok) {
      const bad = examineBadLine(line, KINDS);
      return bad.unknownKind ? { kind: 'heard' } : this.#refuse(bad.version, decoded.message);
    }
    const { frame } = decoded;
    switch (frame.kind) {
      case 'placement':
        this.#options.dataPlane.setPlacement(frame.placement);
        return { kind: 'heard' };
      case 'snapshot':
        return this.#apply(frame.version, () => {
          this.#options.dataPlane.applyEndpointsSnapshot(frame.sets, false);
          this.#replace(frame.version, frame.sets);
        });
      case 'update':
        return this.#update(frame);
      case 'unchanged':
        return this.#onUnchanged(frame.version);
      case 'heartbeat':
        return { kind: 'heard' };
      case 'end':
        break;
    }
    return { kind: 'failed', reason: 'ended', detail: frame.reason };
  }

  onOversizeLine(head: string, message: string): void {
    this.#refuse(versionInHead(head), message);
  }

  onUp(): void {
    this.#options.dataPlane.setEndpointsStreamUp(true);
    this.#options.onUp();
  }

  onDown(): void {
    this.#options.dataPlane.setEndpointsStreamUp(false);
    this.#options.onDown();
  }

  #replace(version: string, sets: readonly EndpointSet[]): void {
    this.#sets = new Map(sets.map((set) => [set.key, set]));
    this.#version = version;
  }

  /** Changes what we said that we hold, be it from this stream, the one before, or the disk. */
  #update(frame: Extract<EndpointsFrame, { kind: 'update' }>): LineVerdict {
    if (this.#version === null || this.#resync) {
      return this.#refuse(frame.version, 'an update came before the snapshot that it changes');
    }
    return this.#apply(frame.version, () => {
      const next = new Map(this.#sets);
      for (const key of frame.removed) next.delete(key);
      for (const set of frame.sets) next.set(set.key, set);
      if (next.size > PLAN_LIMITS.endpointSets) throw new Error(`more than ${PLAN_LIMITS.endpointSets} sets`);
      if (this.#confirmed) this.#options.dataPlane.applyEndpointsUpdate(frame.sets, frame.removed);
      else this.#options.dataPlane.applyEndpointsSnapshot([...next.values()], false);
      this.#sets = next;
      this.#version = frame.version;
    });
  }

  #apply(version: string, change: () => void): LineVerdict {
    try {
      change();
    } catch (error) {
      return this.#refuse(
        version,
        `the endpoints cannot be applied: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
    this.#confirmed = true;
    this.#resync = false;
    this.#options.log.debug({ version, sets: this.#sets.size }, 'endpoints applied');
    this.#options.onApplied();
    this.#options.onVerdict({ version, applied: true, message: '' });
    return { kind: 'confirmed' };
  }

  #onUnchanged(version: string): LineVerdict {
    if (version !== this.#version)
      return this.#refuse(
        version,
        `"unchanged" names a version that is not the one applied, ${this.#version ?? 'none'}`,
      );
    // What came from disk is true after all: the data path must hear that it may rely on it.
    if (!this.#confirmed) {
      return this.#apply(version, () => this.#options.dataPlane.applyEndpointsSnapshot(this.sets(), false));
    }
    this.#options.onVerdict({ version, applied: true, message: '' });
    return { kind: 'confirmed' };
  }

  /** Later updates would build on what is missing: only a whole snapshot, on a new connection, makes it good. What is held stays. */
  #refuse(version: string, message: string): LineVerdict {
    this.#options.log.error(
      { version, message, inForce: this.#version },
      'endpoints refused; the last good ones stay in use',
    );
    this.#resync = true;
    this.#options.onVerdict({ version, applied: false, message: message.slice(0, MAX_MESSAGE_LENGTH) });
    return { kind: 'failed', reason: 'bad-frame', detail: message };
  }
}
