// Which of our objects a world holds, and as what: a result says something of these alone. A watch brings the next generation of one, or
// another object under its name, before that is compiled.
import type { World } from '../compile/world.ts';
import { type OwnObject, ownKey } from '../watch/world-source.ts';

/** One pass over a world, not per object. */
const identitiesByWorld = new WeakMap<World, ReadonlyMap<string, string>>();

/** Whether `world` holds this very object in this very generation. */
export function isIn(world: World, { kind, namespace, name, uid, generation, content }: OwnObject): boolean {
  let identities = identitiesByWorld.get(world);
  if (identities === undefined) {
    identities = identitiesOf(world);
    identitiesByWorld.set(world, identities);
  }
  return identities.get(ownKey(kind, namespace, name)) === identityOf('model' in content, uid, generation);
}

function identitiesOf({ serviceDependencies, resiliencePolicies, invalid }: World): ReadonlyMap<string, string> {
  const identities = new Map<string, string>();
  for (const { kind, metadata } of [...serviceDependencies, ...resiliencePolicies]) {
    const { namespace, name, uid, generation } = metadata;
    identities.set(ownKey(kind, namespace, name), identityOf(true, uid, generation));
  }
  for (const { kind, namespace, name, generation } of invalid) {
    identities.set(ownKey(kind, namespace, name), identityOf(false, '', generation));
  }
  return identities;
}

/** Of an object that cannot be read nobody keeps the uid. */
function identityOf(fits: boolean, uid: string, generation: number): string {
  return fits ? `${uid} ${generation}` : `invalid ${generation}`;
}
