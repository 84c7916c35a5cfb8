// The plan stream: applies each plan whole, or refuses it whole and keeps the last good one.

import type { WorkloadPlan } from '../../plan/plan.ts';
import { decodePlanFrame, PATHS, type PlanFrame } from '../../plan/wire.ts';
import type { Logger } from '../../runtime/log.ts';
import type { DataPlane } from '../data-plane.ts';
import { examineBadLine, versionInHead } from './bad-line.ts';
import type { LineVerdict, StreamFollower } from './stream-client.ts';

export interface Verdict {
  version: string;
  applied: boolean;
  message: string;
}

export interface PlanFollowerOptions {
  dataPlane: Pick<DataPlane, 'applyPlan'>;
  log: Logger;
  /** A plan is in force; `line` is the frame as it came, to be kept. */
  onApplied(version: string, plan: WorkloadPlan, line: string): void;
  /** What to tell the operator about a version. */
  onVerdict(verdict: Verdict): void;
  /** A bundle that came over the stream; throws when it cannot be used. */
  onTrust(bundle: string): void;
  onUp(): void;
  onDown(): void;
}

const KINDS: readonly PlanFrame['kind'][] = ['plan', 'unchanged', 'trust', 'heartbeat', 'end'];
const HEARD: LineVerdict = { kind: 'heard' };
const MAX_MESSAGE_LENGTH = 1024;
/** So many refused frames without a good one between them, and the stream is left: an operator that sends nothing else is no use, and fills the log. */
const MAX_REFUSED_IN_A_ROW = 8;

export class PlanFollower implements StreamFollower {
  readonly stream = 'plan';
  readonly #options: PlanFollowerOptions;
  #version: string | null = null;
  #refusedInARow = 0;

  constructor(options: PlanFollowerOptions) {
    this.#options = options;
  }

  /** Version of the plan in force; null before the first one. */
  get version(): string | null {
    return this.#version;
  }

  /** Applies a plan from disk; throws what the data path throws. */
  restore(version: string, plan: WorkloadPlan): void {
    this.#options.dataPlane.applyPlan(plan);
    this.#version = version;
  }

  path(): string {
    return this.#version === null ? PATHS.plan : `${PATHS.plan}?version=${encodeURIComponent(this.#version)}`;
  }

  onLine(line: string): LineVerdict {
    const decoded = decodePlanFrame(line);
    if (!decoded.ok) return this.#onBadLine(line, decoded.message);
    const { frame } = decoded;
    switch (frame.kind) {
      case 'plan':
        return this.#apply(frame.version, frame.plan, line);
      case 'unchanged':
        return this.#onUnchanged(frame.version);
      case 'trust':
        return this.#onTrust(frame.bundle);
      case 'heartbeat':
        return HEARD;
      case 'end':
        break;
    }
    return { kind: 'failed', reason: 'ended', detail: frame.reason };
  }

  onOversizeLine(head: string, message: string): void {
    this.#refuse(versionInHead(head), message);
  }

  onUp(): void {
    this.#options.onUp();
  }

  onDown(): void {
    this.#options.onDown();
  }

  #apply(version: string, plan: WorkloadPlan, line: string): LineVerdict {
    try {
      this.#options.dataPlane.applyPlan(plan);
    } catch (error) {
      const message = `the plan cannot be applied: ${error instanceof Error ? error.message : String(error)}`;
      this.#refuse(version, message);
      // The operator has said what it wants, and the stream is sound: what we hold is the last good plan, and it knows.
      return this.#stayed(message);
    }
    this.#refusedInARow = 0;
    this.#version = version;
    this.#options.log.info({ version, dependencies: plan.dependencies.length }, 'plan applied');
    this.#options.onApplied(version, plan, line);
    this.#options.onVerdict({ version, applied: true, message: '' });
    return { kind: 'confirmed' };
  }

  #onUnchanged(version: string): LineVerdict {
    if (version !== this.#version) {
      const detail = `"unchanged" names version ${version}, but ${this.#version ?? 'none'} is in force`;
      this.#version = null;
      return { kind: 'failed', reason: 'bad-frame', detail };
    }
    this.#options.onVerdict({ version, applied: true, message: '' });
    return { kind: 'confirmed' };
  }

  #onTrust(bundle: string): LineVerdict {
    try {
      this.#options.onTrust(bundle);
    } catch (error) {
      this.#options.log.error(
        { err: error },
        'the operator sent a CA bundle that cannot be used; the present one stays',
      );
    }
    return HEARD;
  }

  #onBadLine(line: string, message: string): LineVerdict {
    const bad = examineBadLine(line, KINDS);
    if (bad.unknownKind) return HEARD;
    this.#refuse(bad.version, message);
    // A frame that is JSON arrived as it was sent: the next one may be good. Anything else means that the stream itself is damaged.
    return bad.isJson ? this.#stayed(message) : { kind: 'failed', reason: 'bad-frame', detail: message };
  }

  /** After a refused frame that leaves the stream sound. */
  #stayed(detail: string): LineVerdict {
    if (this.#refusedInARow < MAX_REFUSED_IN_A_ROW) return HEARD;
    this.#refusedInARow = 0;
    return { kind: 'failed', reason: 'bad-frame', detail };
  }

  #refuse(version: string, message: string): void {
    this.#refusedInARow += 1;
    this.#options.log.error(
      { version, message, inForce: this.#version },
      'plan refused; the last good one stays in force',
    );
    this.#options.onVerdict({ version, applied: false, message: message.slice(0, MAX_MESSAGE_LENGTH) });
  }
}
