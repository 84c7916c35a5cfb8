// Whether the API server still takes the pod with what injection adds. A pod that fits without the sidecar must not be refused because of it.
import type { AddOperation } from './patch.ts';
import type { Pod } from './pod.ts';

/** Of all annotations of an object, keys and values. */
export const ANNOTATIONS_BYTES = 256 * 1024;
/** etcd takes 1.5 MiB of an object, which its JSON is never shorter than; some of it is left for status and managed fields. */
const OBJECT_BYTES = 1_400_000;

const annotationBytes = (annotations: Readonly<Record<string, string>>): number =>
  Object.entries(annotations).reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0);

/** Why not, for people; undefined where it fits. */
export function tooLarge(pod: Pod, patch: readonly AddOperation[]): string | undefined {
  const own = pod.metadata?.annotations ?? {};
  const annotations = annotationBytes({ ...own, ...addedAnnotations(patch) });
  if (annotations > ANNOTATIONS_BYTES) {
    return `its annotations would have ${annotations} bytes with ours, and ${ANNOTATIONS_BYTES} are allowed; make them smaller`;
  }
  const bytes = Buffer.byteLength(JSON.stringify(patch)) + Buffer.byteLength(JSON.stringify(pod));
  if (bytes <= OBJECT_BYTES) return undefined;
  return `it would have ${bytes} bytes with the sidecar, near what an object may have; move data out of it, into ConfigMaps or volumes`;
}

const ROOT = '/metadata/annotations';

function addedAnnotations(patch: readonly AddOperation[]): Record<string, string> {
  const added: Record<string, string> = {};
  for (const { path, value } of patch) {
    if (path === ROOT) Object.assign(added, value);
    else if (path.startsWith(`${ROOT}/`)) {
      const key = path
        .slice(ROOT.length + 1)
        .replaceAll('~1', '/')
        .replaceAll('~0', '~');
      added[key] = String(value);
    }
  }
  return added;
}
