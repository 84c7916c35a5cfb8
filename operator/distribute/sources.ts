// What each kind of stream has to say next, from what it was sent and what is true now.
import type { Placement } from '../../plan/endpoints.ts';
import type { EndpointsSnapshot, PlanSnapshot } from './snapshots.ts';
import type { Source } from './stream.ts';

/** Told of each frame with news; with the time of publication where the stream was already open then. */
export type Sent = (frame: Buffer, publishedAtMs: number | undefined) => void;

/** Trust first, for the next connection may need it; then the plan, or the word that nothing changed. */
export class PlanSource implements Source {
  #target: PlanSnapshot;
  #sentVersion: string | undefined;
  #unchanged: boolean;
  #trust: string | undefined;
  #sentTrust: string | undefined;
  readonly #sent: Sent;

  constructor(target: PlanSnapshot, resumeVersion: string | undefined, trust: string | undefined, sent: Sent) {
    this.#target = target;
    this.#trust = trust;
    this.#sent = sent;
    this.#unchanged = resumeVersion === target.version;
  }

  /** True when the version before was never sent. */
  retarget(target: PlanSnapshot): boolean {
    if (target === this.#target) return false;
    const skipped = this.#sentVersion !== this.#target.version;
    this.#target = target;
    this.#unchanged = false;
    return skipped;
  }

  setTrust(trust: string): void {
    this.#trust = trust;
  }

  next(): Buffer | undefined {
    if (this.#trust !== undefined && this.#trust !== this.#sentTrust) {
      this.#sentTrust = this.#trust;
      return Buffer.from(`${JSON.stringify({ kind: 'trust', bundle: this.#trust })}\n`);
    }
    const { version, frame, publishedAtMs } = this.#target;
    if (this.#sentVersion === version) return undefined;
    const news = this.#sentVersion !== undefined;
    this.#sentVersion = version;
    if (this.#unchanged) return Buffer.from(`${JSON.stringify({ kind: 'unchanged', version })}\n`);
    this.#sent(frame, news ? publishedAtMs : undefined);
    return frame;
  }
}

const NO_FRAMES: readonly Buffer[] = [];
const NOWHERE: Placement = { node: '', zone: '' };

/** Where the pod runs first; then everything, or the word that nothing changed; then what changed. Frames of one version are finished before the next begins. */
export class EndpointsSource implements Source {
  #target: EndpointsSnapshot;
  #sentSnapshot: EndpointsSnapshot | undefined;
  #unchanged: boolean;
  /** Those that are left of one version; let go with the last of them. */
  #frames = NO_FRAMES;
  #nextFrame = 0;
  #placement: Placement = NOWHERE;
  /** What a sidecar takes for true that was told nothing. */
  #sentPlacement: Placement = NOWHERE;
  readonly #framesBetween: (from: EndpointsSnapshot | undefined, to: EndpointsSnapshot) => readonly Buffer[];
  readonly #sent: Sent;

  constructor(
    target: EndpointsSnapshot,
    resumeVersion: string | undefined,
    framesBetween: (from: EndpointsSnapshot | undefined, to: EndpointsSnapshot) => readonly Buffer[],
    sent: Sent,
  ) {
    this.#target = target;
    this.#unchanged = resumeVersion === target.version;
    this.#framesBetween = framesBetween;
    this.#sent = sent;
  }

  retarget(target: EndpointsSnapshot): boolean {
    if (target === this.#target) return false;
    const skipped = this.#sentSnapshot !== this.#target;
    this.#target = target;
    // A stream that resumed has, without a frame, what it was told to be unchanged; one that was not told yet gets everything.
    this.#unchanged = false;
    return skipped;
  }

  /** Absent where nobody has to know, or nobody does. */
  setPlacement(placement: Placement = NOWHERE): void {
    this.#placement = placement;
  }

  next(): Buffer | undefined {
    const { node, zone } = this.#placement;
    if (node !== this.#sentPlacement.node || zone !== this.#sentPlacement.zone) {
      this.#sentPlacement = this.#placement;
      return Buffer.from(`${JSON.stringify({ kind: 'placement', placement: { node, zone } })}\n`);
    }
    const started = this.#nextOfFrames();
    if (started) {
      this.#sent(started, undefined);
      return started;
    }
    if (this.#sentSnapshot?.version === this.#target.version) return undefined;
    const from = this.#sentSnapshot;
    this.#sentSnapshot = this.#target;
    if (this.#unchanged)
      return Buffer.from(`${JSON.stringify({ kind: 'unchanged', version: this.#target.version })}\n`);
    this.#frames = this.#framesBetween(from, this.#target);
    this.#nextFrame = 0;
    const first = this.#nextOfFrames();
    if (first) this.#sent(first, from ? this.#target.publishedAtMs : undefined);
    return first;
  }

  #nextOfFrames(): Buffer | undefined {
    const frame = this.#frames[this.#nextFrame];
    this.#nextFrame += 1;
    if (this.#nextFrame >= this.#frames.length) this.#frames = NO_FRAMES;
    return frame;
  }
}
