// Where everything of the test cluster lives on this machine, and the addresses inside it.
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** What is built once and kept: binaries, images, containerd's store. */
export interface Cache {
  root: string;
  bin: string;
  build: string;
  images: string;
  containerd: string;
}

export function cacheLayout(
  root = process.env['BREAKWATER_CLUSTER_CACHE'] ?? join(homedir(), '.cache', 'breakwater-cluster'),
): Cache {
  return {
    root,
    bin: join(root, 'bin'),
    build: join(root, 'build'),
    images: join(root, 'images'),
    containerd: process.env['BREAKWATER_CLUSTER_CONTAINERD'] ?? join(root, 'containerd'),
  };
}

/** Holds certificates, logs, process ids and etcd's data of the running cluster; thrown away with it. */
export const stateDirectory = (): string => process.env['BREAKWATER_CLUSTER_STATE'] ?? '/run/breakwater-cluster';

/** Name of the network namespace that is the node, and of the control group that its pods are below. */
export const networkNamespace = (): string => process.env['BREAKWATER_CLUSTER_NETNS'] ?? 'breakwater';

/** What distinguishes a second cluster on the same machine from the first one, in the environment of the process that starts it. */
export const SECOND_CLUSTER = {
  BREAKWATER_CLUSTER_STATE: '/run/breakwater-cluster-second',
  BREAKWATER_CLUSTER_NETNS: 'breakwater-second',
  BREAKWATER_CLUSTER_LOCK: '/run/breakwater-cluster-second.lock',
  BREAKWATER_CLUSTER_CONTAINERD: join(cacheLayout().root, 'containerd-second'),
} as const;

/** The kubeconfig of the administrator. */
export const adminKubeconfig = (state = stateDirectory()): string => join(state, 'admin.kubeconfig');

// Addresses of the benchmark range (RFC 2544): neither private nor public networks use them, so nothing real can be shadowed.
export const NODE_ADDRESS = '198.18.255.1';
export const POD_CIDR = '198.18.0.0/24';
export const CLUSTER_CIDR = '198.18.0.0/17';
export const SERVICE_CIDR = '198.19.0.0/16';
export const API_SERVICE_ADDRESS = '198.19.0.1';
export const DNS_SERVICE_ADDRESS = '198.19.0.10';

// The same for IPv6 (RFC 5180). Services are of IPv4 where they do not ask for another family.
export const NODE_ADDRESS_6 = '2001:2:0:ff00::1';
export const POD_CIDR_6 = '2001:2:0:1::/64';
export const CLUSTER_CIDR_6 = '2001:2::/50';
export const SERVICE_CIDR_6 = '2001:2:0:f000::/112';

/** Whether this machine can be the node of a cluster of both families. */
export const hasIpv6 = (): boolean => existsSync('/proc/net/if_inet6');

/** The first, and the second where the machine has IPv6. */
export const ofBothFamilies = (ipv4: string, ipv6: string): string[] => (hasIpv6() ? [ipv4, ipv6] : [ipv4]);

export const NODE_NAME = 'node';
