// The transitions of circuits as Events of their ServiceDependency: one when the first sidecar opens it, one when the last has closed it.
// Half-open in between is neither.
import type { CircuitSummary } from '../distribute/acknowledgements.ts';
import { ownKey, type WorldSource } from '../watch/world-source.ts';
import type { EventSink } from './events.ts';

export class CircuitEvents {
  readonly #source: WorldSource;
  readonly #circuits: () => readonly CircuitSummary[];
  readonly #events: EventSink;
  /** Circuits that are not closed somewhere, by dependency and state key. */
  #open = new Map<string, CircuitSummary>();

  constructor(source: WorldSource, circuits: () => readonly CircuitSummary[], events: EventSink) {
    this.#source = source;
    this.#circuits = circuits;
    this.#events = events;
  }

  /** Compares with what was told last, and tells the difference. */
  compare(): void {
    const now = new Map<string, CircuitSummary>();
    for (const circuit of this.#circuits()) {
      const key = `${circuit.dependencyId} ${circuit.stateKey}`;
      const before = this.#open.get(key);
      if (before === undefined && circuit.state !== 'Open') continue;
      now.set(key, circuit);
      if (before === undefined) this.#tell(circuit, true);
    }
    for (const [key, circuit] of this.#open) if (!now.has(key)) this.#tell(circuit, false);
    this.#open = now;
  }

  #tell(circuit: CircuitSummary, isOpen: boolean): void {
    const [namespace = '', dependency = '', entry = ''] = circuit.dependencyId.split('/');
    const object = this.#source.own(ownKey('ServiceDependency', namespace, dependency));
    if (object === undefined) return;
    const rule = circuit.stateKey.slice(circuit.stateKey.indexOf(':') + 1);
    const what = rule === 'base' ? entry : `${entry} (${rule})`;
    const because = circuit.reason === '' ? '' : `: ${circuit.reason}`;
    this.#events.record({
      regarding: {
        apiVersion: 'breakwater.dev/v1alpha1',
        kind: 'ServiceDependency',
        namespace,
        name: dependency,
        uid: object.uid,
      },
      type: isOpen ? 'Warning' : 'Normal',
      reason: isOpen ? 'CircuitOpened' : 'CircuitClosed',
      action: 'ObserveCircuit',
      note: isOpen
        ? `The circuit of ${what} opened${because}. Its calls are refused until the service answers again.`
        : `No sidecar holds the circuit of ${what} open any more.`,
    });
  }
}
