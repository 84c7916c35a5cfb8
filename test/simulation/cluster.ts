// What is written down in the cluster: Services, pods, declarations and policies, and how people and controllers change them. It is the
// input of the real compiler.

import { compile } from '../../operator/compile/compile.ts';
import type { CompileResult } from '../../operator/compile/result.ts';
import {
  endpointSlice,
  type Manifest,
  pod,
  service,
  serviceDependency,
  TARGETS,
} from '../../operator/compile/testing.ts';
import { addObject, buildWorld, createWorldBuilder } from '../../operator/compile/world-builder.ts';
import type { Dice } from './dice.ts';
import type { Speaks } from './pod.ts';
import { randomPolicy } from './policies.ts';

/** How the sidecar reaches a Service. */
export type Manner = 'Balanced' | 'ClusterIp' | 'Headless';

export interface CalledService {
  name: string;
  /** Of the Service's port. */
  port: number;
  clusterIp: string;
  manner: Manner;
  speaks: Spoken;
}

/** What its pods speak. Always1: and nobody tries anything else, in a world without HTTP/2. */
export type Spoken = Speaks | 'Always1';

export const ENDPOINT_PORT = 9_000;
const NAMES = ['payments', 'inventory', 'reviews'] as const;
const POLICY_NAMES = ['a', 'b', 'c', 'd'] as const;

export class Cluster {
  readonly services: readonly CalledService[];
  /** Names of the pods that call, each with a sidecar. */
  readonly callers: readonly string[];
  readonly #dice: Dice;
  readonly #objects = new Map<string, Manifest>();
  readonly #addresses = new Map<string, readonly string[]>();
  /** Of each Service: every set of addresses that it ever had. */
  readonly #everAddresses = new Map<string, Set<string>>();
  #compiled: CompileResult | null = null;

  /** `protocols`: draws what Services speak; null: HTTP/1.1. */
  constructor(dice: Dice, protocols: Dice | null) {
    this.#dice = dice;
    this.services = NAMES.slice(0, dice.between(1, NAMES.length)).map((name, index) => ({
      name,
      port: 8080 + index,
      clusterIp: `10.96.0.${index + 1}`,
      manner: dice.pick(['Balanced', 'Balanced', 'Balanced', 'ClusterIp', 'Headless'] as const),
      speaks: protocols?.pick(['Http2', 'Http2', 'Both', 'Http1'] as const) ?? 'Always1',
    }));
    this.callers = Array.from({ length: dice.between(1, 3) }, (_, index) => `checkout-${index}`);
    for (const called of this.services) {
      this.#set(this.#service(called));
      this.#everAddresses.set(called.name, new Set(['']));
    }
    for (const name of this.callers) this.#set(pod(name, { labels: { app: 'checkout' } }));
    this.#set(this.#declaration());
    for (const name of POLICY_NAMES) if (dice.chance(0.7)) this.#set(this.#policy(name));
  }

  /** What the compiler makes of all that is written down now; the same for every replica that asks before the next change. */
  compile(): CompileResult {
    if (this.#compiled === null) {
      const builder = createWorldBuilder();
      for (const manifest of this.#objects.values()) addObject(builder, manifest);
      this.#compiled = compile(buildWorld(builder, 'cluster.local'));
    }
    return this.#compiled;
  }

  addresses(name: string): readonly string[] {
    return this.#addresses.get(name) ?? [];
  }

  /** The controller of endpoints has seen the pods of a Service, some of which are about to end and still serve. */
  setAddresses(name: string, ready: readonly string[], terminating: readonly string[]): void {
    // As kube-proxy: who is about to end serves only where nobody else does.
    const addresses = ready.length > 0 ? ready : terminating;
    this.#addresses.set(name, addresses);
    this.#everAddresses.get(name)?.add(setOf(addresses));
    const slice = endpointSlice(`${name}-1`, name, []);
    const conditions = { ready: false, serving: true, terminating: true };
    const endpoints = [
      ...terminating.map((address) => ({ addresses: [address], conditions })),
      ...ready.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    ];
    this.#set({ ...slice, endpoints, ports: [{ name: 'http', port: ENDPOINT_PORT }] });
  }

  /** Whether the Service of this key in the plan ever was at these addresses, by what kube-proxy would do. */
  wasAt(key: string, addresses: readonly string[]): boolean {
    const [, name = ''] = /^shop\/(.*):\d+$/.exec(key) ?? [];
    return this.#everAddresses.get(name)?.has(setOf(addresses)) === true;
  }

  /** Somebody edits something. Returns what, for people. */
  edit(): string {
    const dice = this.#dice;
    const name = dice.pick(POLICY_NAMES);
    if (dice.chance(0.15)) {
      this.#objects.delete(`ResiliencePolicy ${name}`);
      this.#compiled = null;
      return `policy ${name} deleted`;
    }
    if (dice.chance(0.15)) {
      const declaration = this.#declaration();
      this.#set(declaration);
      return `declaration changed: ${JSON.stringify(declaration['metadata'])}`;
    }
    const policy = this.#policy(name);
    this.#set(policy);
    return `policy ${name}: ${JSON.stringify(policy['spec'])}`;
  }

  /** Everything is as it should be: no kill switch is thrown. */
  calm(): void {
    this.#set(this.#declaration(false));
  }

  #set(manifest: Manifest): void {
    const { name } = manifest['metadata'] as { name: string };
    this.#compiled = null;
    this.#objects.set(`${String(manifest['kind'])} ${name}`, manifest);
  }

  #service({ name, port, clusterIp, manner, speaks }: CalledService): Manifest {
    const portName = this.#dice.pick(['http', 'http', 'web']);
    const appProtocol = speaks === 'Http2' ? 'kubernetes.io/h2c' : 'http';
    return service(name, {
      ports: [{ name: portName, port, ...(portName === 'http' ? {} : { appProtocol }) }],
      spec: {
        clusterIP: manner === 'Headless' ? 'None' : clusterIp,
        clusterIPs: [manner === 'Headless' ? 'None' : clusterIp],
        sessionAffinity: manner === 'ClusterIp' ? 'ClientIP' : 'None',
      },
    });
  }

  #declaration(mayDisable = true): Manifest {
    const disabled = mayDisable && this.#dice.chance(0.3);
    return serviceDependency('checkout', {
      dependsOn: this.services.map(({ name, port }) => ({ name, service: { name, port } })),
      metadata: disabled ? { annotations: { 'breakwater.dev/enforcement': 'disabled' } } : {},
    });
  }

  #policy(name: string): Manifest {
    const dice = this.#dice;
    const { name: called } = dice.pick(this.services);
    const target = dice.pick([
      TARGETS.service(called),
      TARGETS.dependency('checkout'),
      TARGETS.dependency('checkout', called),
    ]);
    return randomPolicy(dice, name, 'shop', [target]);
  }
}

function setOf(addresses: readonly string[]): string {
  return [...addresses].sort().join();
}
