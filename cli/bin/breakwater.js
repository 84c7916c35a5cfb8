#!/usr/bin/env node
// The `breakwater` command of the npm package. Started by whatever Node the user has.
import { runWithPinnedNode } from './pinned-node.js';

runWithPinnedNode('cli/main.ts', process.argv.slice(2));
