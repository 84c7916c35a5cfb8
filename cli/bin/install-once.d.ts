export interface LockFile {
  packages: Record<string, { version?: string; integrity?: string; optional?: boolean; devOptional?: boolean }>;
}
export function installOnce(): void;
export function isInstalled(wanted: LockFile, present: LockFile | undefined): boolean;
