#!/usr/bin/env node
// The `breakwater` command of the npm package. Started by whatever Node the user has.
import { installInFreshClone } from './install-once.js';
import { runWithPinnedNode } from './pinned-node.js';

installInFreshClone();
runWithPinnedNode('cli/main.ts', process.argv.slice(2));
