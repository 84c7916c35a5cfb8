// What the npm scripts begin with: `node cli/bin/launch.js SCRIPT ARGUMENTS…` installs the packages where they are missing or not those of
// package-lock.json, then runs the script with the pinned Node. So `npm test` works in a fresh clone with Node 20 and npm alone.
//
// One process for both steps, because a shell remembers where it found `node` first: in `node install.js && node run.ts` the second one
// would be the old Node again, although the pinned one is first in the PATH by then.
import { installOnce } from './install-once.js';
import { runWithPinnedNode } from './pinned-node.js';

const [script, ...args] = process.argv.slice(2);
if (script === undefined) {
  process.stderr.write('usage: node cli/bin/launch.js SCRIPT [ARGUMENTS…]\n');
  process.exit(2);
}
installOnce();
runWithPinnedNode(script, args);
