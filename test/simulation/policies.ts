// Random ResiliencePolicies: any blocks of the schema with any values, rules among them, as a user might write them who tries everything.
// A new block joins by being in the list of blocks.
import { parseResiliencePolicy } from '../../crds/parse.ts';
import { blocks } from '../../crds/policies/blocks.ts';
import { rawSchema, type SchemaNode } from '../../crds/structural.ts';
import type { Manifest } from '../../operator/compile/testing.ts';
import { Dice } from './dice.ts';
import { randomValue, type Vocabulary } from './schema-values.ts';

/**
 * Texts that are no enum, which what the applications of the simulation send has to match (see applications.ts), and numbers that mean something
 * for as few endpoints and values as there are, and as fast as servers answer.
 */
const VOCABULARY: Vocabulary = {
  'rateLimit.perHeader.name': ['x-tenant'],
  'rateLimit.perHeader.maxValues': [1, 2, 3, 1000],
  'outlierDetection.maxEjectionPercent': [0, 20, 34, 50, 67, 100],
  'outlierDetection.panicThresholdPercent': [0, 30, 50, 100],
  'outlierDetection.consecutiveFailures': [0, 1, 2, 3, 5],
  'outlierDetection.consecutiveLocalOriginFailures': [0, 1, 2, 3, 5],
  'loadBalancing.algorithm': ['PeakEwma', 'LeastRequest', 'RoundRobin', ...Array(5).fill('ConsistentHash')],
  'loadBalancing.consistentHash.key': ['Header', 'Header', 'SourceAddress'],
  'loadBalancing.consistentHash.name': ['x-tenant'],
  'healthCheck.path': ['/healthz', '/charges'],
  'healthCheck.host': ['status.example.com'],
  'fallback.dependency': ['payments', 'inventory', 'reviews', 'nobody'],
  'fallback.lastGood.keyHeaders': ['x-tenant', 'accept'],
  'hedging.mode': ['Enforce', 'Enforce', 'Enforce', 'Shadow', 'Disabled'],
  'hedging.afterPercentile': [50, 50, 60, 75, 90, 99],
  'hedging.minDelay': ['1ms', '1ms', '5ms', '20ms'],
  'hedging.maxDelay': ['5ms', '20ms', '200ms'],
  'fallback.response.body': ['', '{"items":[]}'],
  'fallback.response.contentType': ['application/json', 'text/plain; charset=utf-8'],
};
export const TENANTS = ['a', 'b', 'c'] as const;

export const PATHS = ['/charges', '/orders', '/items/all'] as const;
export const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'PATCH'] as const;
const RULE_NAMES = ['charge', 'report', 'list'] as const;
const TRIES = 200;

/** Drawn by dice of its own: what hedges is paid out of retries, and next to never sent where both are drawn by chance. */
const HEDGING = rawSchema(blocks.hedging);
const BLOCKS = Object.entries(blocks)
  .filter(([name]) => name !== 'hedging')
  .map(([name, block]) => [name, name === 'healthCheck' ? byHttp(rawSchema(block)) : rawSchema(block)] as const);

/** Checks by gRPC are made by HTTP/2, which keeps time by itself and not by the simulation. */
function byHttp({ properties = {}, ...schema }: SchemaNode): SchemaNode {
  const { grpc: _grpc, ...rest } = properties;
  return { ...schema, properties: rest };
}

/** A policy that the API server would take. */
export function randomPolicy(dice: Dice, name: string, namespace: string, targetRefs: readonly Manifest[]): Manifest {
  const metadata = { name, namespace, creationTimestamp: `2026-01-0${dice.between(1, 9)}T00:00:00Z`, generation: 1 };
  const probability = dice.pick([0.3, 0.6, 0.9]);
  for (let tries = 0; tries < TRIES; tries += 1) {
    const policy = {
      apiVersion: 'breakwater.dev/v1alpha1',
      kind: 'ResiliencePolicy',
      metadata,
      spec: { targetRefs, ...randomBlocks(dice, probability), ...randomRules(dice) },
    };
    if (parseResiliencePolicy(policy).ok) return policy;
  }
  throw new Error(`no valid policy in ${TRIES} tries: the simulation writes something that the schema never takes`);
}

function randomBlocks(dice: Dice, probability: number): Record<string, unknown> {
  const blocks: Record<string, unknown> = {};
  for (const [name, node] of BLOCKS) if (dice.chance(probability)) blocks[name] = validBlock(dice, name, node);
  if ('retries' in blocks) {
    const own = new Dice(0, JSON.stringify(blocks));
    if (own.chance(0.7)) blocks['hedging'] = validBlock(own, 'hedging', HEDGING);
  }
  return blocks;
}

/** Drawn again until it stands by itself: a block whose fields contradict each other is refused whatever the others say. */
function validBlock(dice: Dice, name: string, node: SchemaNode): unknown {
  for (let tries = 0; tries < TRIES; tries += 1) {
    const block = randomValue(node, name, dice, VOCABULARY);
    if (isValid({ [name]: block })) return block;
  }
  throw new Error(`no valid ${name} in ${TRIES} tries: the simulation writes something that the schema never takes`);
}

const ANY_TARGET = [{ group: '', kind: 'Service', name: 'any' }];

function isValid(spec: Record<string, unknown>): boolean {
  return parseResiliencePolicy({
    apiVersion: 'breakwater.dev/v1alpha1',
    kind: 'ResiliencePolicy',
    metadata: { name: 'one', namespace: 'shop' },
    spec: { targetRefs: ANY_TARGET, ...spec },
  }).ok;
}

function randomRules(dice: Dice): { rules?: Manifest[] } {
  if (dice.chance(0.5)) return {};
  const rules = dice
    .some(RULE_NAMES)
    .map((name) => ({ name, matches: [randomMatch(dice)], ...randomBlocks(dice, 0.3) }));
  return rules.length > 0 ? { rules } : {};
}

function randomMatch(dice: Dice): Manifest {
  const path = { type: dice.pick(['Exact', 'PathPrefix']), value: dice.pick(PATHS) };
  const method = dice.pick(METHODS);
  const headers = [
    dice.pick([
      { name: 'x-tenant', type: 'Exact', value: dice.pick(TENANTS) },
      { name: 'x-tenant', type: 'Present' },
    ]),
  ];
  return dice.pick([{ path }, { method }, { method, path }, { headers }, { method, headers }]);
}
