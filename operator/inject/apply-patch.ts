// Applies the `add` operations of RFC 6902, for tests that look at what the API server would make of a patch.

type Node = Record<string, unknown> | unknown[];

/** A changed copy; throws where a path does not exist. */
export function applyPatch(
  document: unknown,
  operations: readonly { op: 'add'; path: string; value: unknown }[],
): unknown {
  const copy = structuredClone(document);
  for (const { path, value } of operations) {
    const keys = path
      .split('/')
      .slice(1)
      .map((key) => key.replaceAll('~1', '/').replaceAll('~0', '~'));
    const last = keys.pop();
    let node = copy as Node;
    for (const key of keys) {
      const next: unknown = Reflect.get(node, key);
      if (typeof next !== 'object' || next === null) throw new Error(`there is no ${key} on the way of ${path}`);
      node = next as Node;
    }
    if (last === undefined) throw new Error('a patch of the whole document is not expected');
    const clone = structuredClone(value);
    if (!Array.isArray(node))
      Object.defineProperty(node, last, { value: clone, enumerable: true, writable: true, configurable: true });
    else if (last === '-') node.push(clone);
    else {
      const index = Number(last);
      if (!(index >= 0 && index <= node.length)) throw new Error(`${path} is beyond the list`);
      node.splice(index, 0, clone);
    }
  }
  return copy;
}
