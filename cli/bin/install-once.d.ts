export interface LockFile {
  packages: Record<string, { version?: string; integrity?: string; optional?: boolean; devOptional?: boolean }>;
}
export function installOnce(): void;
export function isInstalled(wanted: LockFile, present: LockFile | undefined): boolean;
export function installInFreshClone(): void;
export function isFreshClone(exists: (path: string) => boolean): boolean;
