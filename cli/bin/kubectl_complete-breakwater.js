#!/usr/bin/env node
// What kubectl runs to complete the arguments of `kubectl breakwater …`.
import { runWithPinnedNode } from './pinned-node.js';

runWithPinnedNode('cli/main.ts', ['--invoked-as=kubectl breakwater', '__complete', ...process.argv.slice(2)]);
