import type { UsedControlPlane } from './control-plane.ts';
/** What kubectl printed; rejects where it refuses. */
export declare function kubectlOn(plane: UsedControlPlane, ...args: readonly string[]): Promise<string>;
export declare function makeShop(plane: UsedControlPlane): Promise<void>;
