// Loaded into the process of the sidecar (`--import`) beside the sidecar: at SIGUSR2 it collects garbage and writes down what it holds. It changes
// nothing else.

import type { EventEmitter } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface Held {
  heapBytes: number;
  handles: number;
  timers: number;
  /** Of all handles together. */
  listeners: number;
}

interface Insides {
  _getActiveHandles(): (EventEmitter | object)[];
}

function lookInside(collect: () => void): Held {
  collect();
  const handles = (process as unknown as Insides)._getActiveHandles();
  const listeners = (handle: EventEmitter | object) =>
    'eventNames' in handle ? handle.eventNames().reduce((sum, name) => sum + handle.listenerCount(name), 0) : 0;
  return {
    heapBytes: process.memoryUsage().heapUsed,
    handles: handles.length,
    timers: process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length,
    listeners: handles.reduce((sum, handle) => sum + listeners(handle), 0),
  };
}

const file = process.env['BREAKWATER_SOAK_PROBE'];
if (file !== undefined && process.argv[1]?.endsWith('sidecar/main.ts')) {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  process.on('SIGUSR2', () => {
    writeFileSync(`${file}.new`, JSON.stringify(lookInside(collect)));
    renameSync(`${file}.new`, file);
  });
}
