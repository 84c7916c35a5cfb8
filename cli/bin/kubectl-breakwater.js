#!/usr/bin/env node
// The same command as a plugin: kubectl finds it by its name, and `kubectl breakwater explain …` runs it.
import { runWithPinnedNode } from './pinned-node.js';

runWithPinnedNode('cli/main.ts', ['--invoked-as=kubectl breakwater', ...process.argv.slice(2)]);
