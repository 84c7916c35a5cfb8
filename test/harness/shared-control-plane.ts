// One API server for all test files that only read and write objects: to start one for each of them took longer than most of their tests.
// vitest starts it before the first file (this module is the global set-up of the project), and each file gets it as new.
import type { TestProject } from 'vitest/node';
import { type ControlPlaneAddress, connectTo, startControlPlane, type UsedControlPlane } from './control-plane.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    controlPlane: ControlPlaneAddress;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const plane = await startControlPlane();
  project.provide('controlPlane', plane.address);
  return () => plane.stop();
}

/** What one file before another left behind is forgotten by `stop`. */
export async function useControlPlane(): Promise<UsedControlPlane> {
  // This module is loaded outside of tests as well.
  const { inject } = await import('vitest');
  return connectTo(inject('controlPlane'));
}
