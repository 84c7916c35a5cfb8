// Where each sidecar runs, for the hints of EndpointSlices go by node and zone. Nodes themselves are not read: that would be a right in the
// whole cluster, for objects that change all the time. What a zone is called is known from what is read anyway: a pod's own label, which newer
// API servers set when it is bound, else an endpoint of any Service on the same node, whose slice names its zone. Where neither says,
// the zone is not known, and zones do not count, as in kube-proxy on a node without that label.
import type { EndpointSet, Placement } from '../../plan/endpoints.ts';
import { keyOf, type WorldIndex } from './world-index.ts';

const ZONE_LABEL = 'topology.kubernetes.io/zone';

/** By "namespace/name" of each pod with a sidecar. Empty where no endpoint carries hints: nobody has to know then. */
export function compilePlacements(
  index: WorldIndex,
  sets: ReadonlyMap<string, EndpointSet>,
): ReadonlyMap<string, Placement> {
  const placements = new Map<string, Placement>();
  if (!hasHints(sets)) return placements;
  const zones = zonesOfNodes(index);
  for (const pods of index.pods.values()) {
    for (const pod of pods) {
      if (!pod.injected || pod.node === undefined) continue;
      const zone = pod.labels[ZONE_LABEL] || zones.get(pod.node) || '';
      placements.set(keyOf(pod), { node: pod.node, zone });
    }
  }
  return placements;
}

function hasHints(sets: ReadonlyMap<string, EndpointSet>): boolean {
  for (const { endpoints } of sets.values())
    if (endpoints.some(({ zones, nodes }) => zones !== undefined || nodes !== undefined)) return true;
  return false;
}

/** A node has one zone: which endpoint tells it makes no difference. */
function zonesOfNodes(index: WorldIndex): ReadonlyMap<string, string> {
  const zones = new Map<string, string>();
  for (const slices of index.slices.values()) {
    for (const { endpoints } of slices)
      for (const { node, zone } of endpoints) if (node !== undefined && zone) zones.set(node, zone);
  }
  return zones;
}
