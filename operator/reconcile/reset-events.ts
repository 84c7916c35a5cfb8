// Resets of circuits as Events of the ServiceDependency whose annotation asks for them. What was told by an operator before this one stands
// in the status; of an object that has no status yet the value is nothing new.
import { circuitResetOf, RESET_ANNOTATION } from '../compile/circuit-reset.ts';
import { keyOf } from '../compile/world-index.ts';
import { ownKey, type WorldSource } from '../watch/world-source.ts';
import type { EventSink } from './events.ts';

export interface ResetEventsOptions {
  source: Pick<WorldSource, 'own' | 'world'>;
  events: EventSink;
}

export class ResetEvents {
  readonly #options: ResetEventsOptions;
  /** By key of the ServiceDependency: the value that was told, or that was there first. */
  #told = new Map<string, string>();

  constructor(options: ResetEventsOptions) {
    this.#options = options;
  }

  /** Tells every value that is another one than before. */
  compare(): void {
    const { source, events } = this.#options;
    const told = new Map<string, string>();
    for (const model of source.world().serviceDependencies) {
      const { namespace, name } = model.metadata;
      const key = keyOf(model.metadata);
      const value = circuitResetOf(model);
      const object = source.own(ownKey('ServiceDependency', namespace, name));
      const before = this.#told.get(key) ?? toldBefore(object?.status, value);
      told.set(key, value);
      if (value === '' || value === before || object === undefined) continue;
      events.record({
        regarding: {
          apiVersion: 'breakwater.dev/v1alpha1',
          kind: 'ServiceDependency',
          namespace,
          name,
          uid: object.uid,
        },
        type: 'Normal',
        reason: 'CircuitsReset',
        action: 'ResetCircuits',
        note: `${RESET_ANNOTATION} is now ${JSON.stringify(value)}: every sidecar that has not seen this value closes the circuits of ${key} and forgets what they counted; those that a policy forces stay as they are.`,
      });
    }
    this.#told = told;
  }

  /** Another replica tells from now on. */
  stop(): void {
    this.#told.clear();
  }
}

/** By a status that anybody may have written. */
function toldBefore(status: unknown, value: string): string {
  if (typeof status !== 'object' || status === null) return value;
  return 'circuitReset' in status && typeof status.circuitReset === 'string' ? status.circuitReset : '';
}
