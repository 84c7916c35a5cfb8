// The state of one kind of policy, by its key. A new plan takes what it still names with new numbers, makes what is new, and forgets the
// rest: circuits, bulkheads, budgets outlive every plan that keeps their key.

export interface StateKind<Plan, State> {
  create(plan: Plan): State;
  /** Changed numbers hold from now on; what was counted stays counted. */
  update(state: State, plan: Plan): void;
  /** No row names it any more: gives back what it holds. */
  remove?(state: State): void;
}

/** For whoever only looks. */
export type States<State> = Pick<StateTable<{ stateKey: string }, State>, 'get' | 'values' | 'entries'>;

export class StateTable<Plan extends { stateKey: string }, State> {
  readonly #kind: StateKind<Plan, State>;
  #present = new Map<string, State>();
  #previous: Map<string, State> | null = null;

  constructor(kind: StateKind<Plan, State>) {
    this.#kind = kind;
  }

  /** From here to `end` every row of the new plan takes its state. */
  begin(): void {
    this.#previous = this.#present;
    this.#present = new Map();
  }

  end(): void {
    for (const [stateKey, state] of this.#previous ?? []) {
      if (!this.#present.has(stateKey)) this.#kind.remove?.(state);
    }
    this.#previous = null;
  }

  /** Rows with the same key share the state. Null: the row has no such policy. */
  take(plan: Plan): State;
  take(plan: Plan | null): State | null;
  take(plan: Plan | null): State | null {
    if (plan === null) return null;
    const { stateKey } = plan;
    const present = this.#present.get(stateKey);
    if (present !== undefined) return present;
    const previous = this.#previous?.get(stateKey);
    const state = previous ?? this.#kind.create(plan);
    this.#present.set(stateKey, state);
    // Only when it is present: what the new numbers change is told.
    if (previous !== undefined) this.#kind.update(previous, plan);
    return state;
  }

  get(stateKey: string): State | undefined {
    return this.#present.get(stateKey);
  }

  values(): Iterable<State> {
    return this.#present.values();
  }

  entries(): Iterable<[string, State]> {
    return this.#present.entries();
  }

  clear(): void {
    for (const state of this.#present.values()) this.#kind.remove?.(state);
    this.#present.clear();
  }
}
