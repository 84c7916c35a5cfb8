// The case `ready`: the sidecar is started with a plan on disk and without an operator, Envoy with its configuration, one after the other.
import type { Random } from '../runtime/random.ts';
import { manifestsOf, requestPolicies } from './manifests.ts';
import type { OwnCase, OwnCaseResult } from './own-case.ts';
import { prepareEnvoy } from './proxies/envoy.ts';
import { leaveOnDisk } from './restarted-sidecar.ts';
import type { Setting } from './setting.ts';
import { measureStartUp, type StartUp, type StartUpSubject } from './start-up.ts';
import { bootstrapInterval, median, shuffled } from './statistics.ts';

const OURS = 'breakwater';
/** Of the median. */
const READY_LIMIT_MS = 250;

export const READY: OwnCase = {
  name: 'ready',
  description: 'from exec to ready with a plan on disk, and to the first answer',
  async measure(setting, { rounds, random, say }) {
    const subjects = await prepare(setting);
    const results = new Map<string, StartUp[]>(subjects.map(({ name }) => [name, []]));
    for (let round = 1; round <= rounds; round++) {
      for (const subject of shuffled(subjects, random)) {
        results.get(subject.name)?.push(await measureStartUp(subject, '/1k'));
      }
      const each = Array.from(results, ([name, all]) => `${name} ${all.at(-1)?.readyMs.toFixed(0)}`);
      say(`ready: round ${round} of ${rounds}, ms: ${each.join(', ')}`);
    }
    return reportReady(results, random);
  },
};

async function prepare(setting: Setting): Promise<StartUpSubject[]> {
  const { bench, upstreamPort, proxyCpu } = setting;
  const manifests = manifestsOf({ upstreamPort, portName: 'http', policy: requestPolicies(bench.rules) });
  const sidecar = await leaveOnDisk(setting, 'ready', manifests);
  return [
    { ...sidecar, name: OURS, readyPath: '/readyz', start: () => sidecar.start(proxyCpu) },
    { ...(await prepareEnvoy(setting)), name: 'envoy', readyPath: '/ready' },
  ];
}

const COLUMNS: readonly { title: string; key: keyof StartUp }[] = [
  { title: 'ready ms', key: 'readyMs' },
  { title: 'CPU-ms until then', key: 'readyCpuMs' },
  { title: 'first answer ms', key: 'firstAnswerMs' },
];

/** PURE. Medians, each with its 95 % interval. */
export function reportReady(results: ReadonlyMap<string, readonly StartUp[]>, random: Random): OwnCaseResult {
  const records = Array.from(results, ([proxy, all]) => {
    const figures = COLUMNS.flatMap(({ key }) => {
      const values = all.map((each) => each[key]);
      const { low, high } = bootstrapInterval(values, random);
      return [
        [key, Math.round(median(values))],
        [`${key}Low`, Math.round(low)],
        [`${key}High`, Math.round(high)],
      ] as [string, number][];
    });
    return { case: 'ready', proxy, ...Object.fromEntries(figures), rounds: all.length };
  });
  const lines = records.map((record) => {
    const of = (key: string) => String((record as Record<string, unknown>)[key]);
    const cells = COLUMNS.map(({ title, key }) => `${title} ${of(key)} (${of(`${key}Low`)}–${of(`${key}High`)})`);
    return `${record.proxy.padEnd(10)}  ${cells.join('  ')}`;
  });
  const readyMs = median((results.get(OURS) ?? []).map((each) => each.readyMs));
  const failures =
    readyMs <= READY_LIMIT_MS ? [] : [`ready: after ${Math.round(readyMs)} ms, the limit is ${READY_LIMIT_MS}`];
  const rounds = results.values().next().value?.length ?? 0;
  return { records, failures, lines: [`ready: ${READY.description}; medians of ${rounds} starts (95 %)`, ...lines] };
}
