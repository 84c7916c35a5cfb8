/** Replaces a method of a class; the returned function puts the old one back. */
export function wrap<T extends object, Name extends keyof T>(
  target: T,
  name: Name,
  make: (original: T[Name]) => T[Name],
): () => void {
  const original = target[name];
  target[name] = make(original);
  return () => {
    target[name] = original;
  };
}
