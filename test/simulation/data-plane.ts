// The data path of a simulated sidecar. Two runs of one seed that differ in nothing but the shadows of policies must not differ in what
// happens to any request: for that the one is given the same plans without their shadows, the other one with as many of them as there can be,
// and from neither does anybody hear of circuits and endpoints in shadow, for what is told to the operator takes its time and its chance.
import type { PolicyPlan, ShadowPlan, WorkloadPlan } from '../../plan/plan.ts';
import { SHADOW_BLOCKS, type ShadowBlock } from '../../plan/policies/blocks.ts';
import { isShadowKey, shadowKey } from '../../plan/policies/state-key.ts';
import type { CircuitView, ExclusionView } from '../../sidecar/data-plane.ts';
import { type DataPlaneOptions, ProxyDataPlane } from '../../sidecar/proxy/data-plane.ts';

/** AsPlanned: as in production. */
export type Shadows = 'AsPlanned' | 'Everywhere' | 'Removed';

export class SimulatedDataPlane extends ProxyDataPlane {
  readonly #shadows: Shadows;

  constructor(options: DataPlaneOptions, shadows: Shadows) {
    super(options);
    this.#shadows = shadows;
  }

  override applyPlan(plan: WorkloadPlan): void {
    super.applyPlan(this.#shadows === 'AsPlanned' ? plan : changed(plan, this.#shadows));
  }

  override circuits(): CircuitView[] {
    return super.circuits().filter((circuit) => this.#isTold(circuit));
  }

  override onCircuitChange(listener: (circuit: CircuitView) => void): void {
    super.onCircuitChange((circuit) => {
      if (this.#isTold(circuit)) listener(circuit);
    });
  }

  override exclusions(): ExclusionView[] {
    return super.exclusions().filter((exclusion) => this.#isTold(exclusion));
  }

  override onExclusionChange(listener: () => void): void {
    let told = '[]';
    super.onExclusionChange(() => {
      // Without the wall clock, whose steps are no change.
      const now = JSON.stringify(this.exclusions().map((exclusion) => ({ ...exclusion, sinceUnixMs: 0 })));
      if (this.#shadows !== 'AsPlanned' && now === told) return;
      told = now;
      listener();
    });
  }

  #isTold({ stateKey }: { stateKey: string }): boolean {
    return this.#shadows === 'AsPlanned' || !isShadowKey(stateKey);
  }
}

function changed(plan: WorkloadPlan, shadows: Shadows): WorkloadPlan {
  const dependencies = plan.dependencies.map((dependency) => {
    const { policies } = dependency;
    const rows = policies.map(({ shadow, ...row }, index) => {
      const other = policies[(index + 1) % policies.length] ?? row;
      return shadows === 'Removed' ? row : { ...row, shadow: shadowOf(shadow, other) };
    });
    return { ...dependency, policies: rows };
  });
  return { ...plan, dependencies };
}

/** Its checks are really made, so that servers have more to do: with it a world is another one. See sidecar/proxy/dependency/health-check.test.ts. */
export const ASKING_SHADOWS: ReadonlySet<ShadowBlock> = new Set(['healthCheck']);

/** What is shadowed, and of the other blocks those of another row, as if somebody shadowed them here. */
function shadowOf(shadow: ShadowPlan | undefined, row: PolicyPlan): ShadowPlan {
  const blocks = SHADOW_BLOCKS.map((name) => {
    const block: object | null = ASKING_SHADOWS.has(name) ? null : (shadow?.[name] ?? row[name]);
    return [name, block && 'stateKey' in block ? { ...block, stateKey: shadowKey(String(block.stateKey)) } : block];
  });
  return Object.fromEntries(blocks) as ShadowPlan;
}
