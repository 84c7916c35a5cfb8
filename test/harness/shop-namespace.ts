// What tests of the operator against an API server begin with: its definitions, and a namespace `shop`.
import { join } from 'node:path';
import type { UsedControlPlane } from './control-plane.ts';

const DEFINITIONS = join(import.meta.dirname, '../../crds/manifests');

/** What kubectl printed; rejects where it refuses. */
export async function kubectlOn(plane: UsedControlPlane, ...args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await plane.kubectl(args);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
  return stdout;
}

export async function makeShop(plane: UsedControlPlane): Promise<void> {
  await kubectlOn(plane, 'apply', '--server-side', '-f', DEFINITIONS);
  await kubectlOn(plane, 'wait', '--for=condition=Established', 'crd', '--all', '--timeout=30s');
  await kubectlOn(plane, 'create', 'namespace', 'shop');
}
