// `npm run cluster:down`: ends the cluster of this machine and removes what it left; its caches are kept.
import { clusterExists, stopCluster } from './kubernetes/node.ts';
import { takeLock } from './lock.ts';

takeLock();
const existed = clusterExists();
await stopCluster();
console.log(existed ? 'The cluster is gone.' : 'There was no cluster.');
