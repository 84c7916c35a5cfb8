// Loaded into the process of the sidecar (`--import`) beside the sidecar: at SIGUSR2 it collects garbage and writes down what it holds. It changes
// nothing else.

import type { EventEmitter } from 'node:events';
import { renameSync, writeFileSync } from 'node:fs';
import { getHeapSpaceStatistics, queryObjects, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

export interface Held {
  /** Of the heap without code: what a program makes by running. */
  heapBytes: number;
  /** Bytecode, machine code and what belongs to either. V8 makes it of functions as they become hot, even after hours, and throws it away again. */
  codeBytes: number;
  /** All that inherit from Object. */
  objects: number;
  handles: number;
  timers: number;
  /** Of all handles together. */
  listeners: number;
}

interface Insides {
  _getActiveHandles(): (EventEmitter | object)[];
}

/** By their names in V8: "code_space", "code_large_object_space", "trusted_space", … */
const HOLDS_CODE = /^(code|trusted)_/;

function lookInside(collect: () => void): Held {
  // Also collects: what is left is reachable.
  const objects = queryObjects(Object, { format: 'count' });
  collect();
  let [heapBytes, codeBytes] = [0, 0];
  for (const { space_name: name, space_used_size: bytes } of getHeapSpaceStatistics()) {
    if (HOLDS_CODE.test(name)) codeBytes += bytes;
    else heapBytes += bytes;
  }
  const handles = (process as unknown as Insides)._getActiveHandles();
  const listeners = (handle: EventEmitter | object) =>
    'eventNames' in handle ? handle.eventNames().reduce((sum, name) => sum + handle.listenerCount(name), 0) : 0;
  return {
    heapBytes,
    codeBytes,
    objects,
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
