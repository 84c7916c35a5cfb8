// What the demo shows, as lines of text: pure. No line is longer than `width`.
import type { Paint, Style } from '../output/paint.ts';
import type { Recent, Summary } from './measurements.ts';
import type { DependencyCounters } from './sidecar-metrics.ts';

export interface ConnectionView {
  /** "checkout → payments" */
  name: string;
  recent: Recent;
  /** Undefined where no sidecar stands between. */
  counters: DependencyCounters | undefined;
}

export interface ShopView {
  title: string;
  customers: Recent;
  connections: readonly ConnectionView[];
}

export interface View {
  elapsedMs: number;
  durationMs: number;
  stage: string;
  shops: readonly ShopView[];
  /** Newest last. */
  events: readonly string[];
}

const NAME_WIDTH = 21;
const CIRCUIT_WIDTH = 9;
const COUNTER_WIDTHS = [8, 8, 7];
/** Width of the table; what is beyond 80 columns stays empty, so that it reads the same everywhere. */
const TABLE_WIDTH = 78;
const SHOWN_EVENTS = 6;

export function renderScreen(view: View, width: number, paint: Paint): string[] {
  const lines = [
    header(view, Math.min(width, TABLE_WIDTH), paint),
    progress(view, Math.min(width, TABLE_WIDTH), paint),
    '',
    ...view.shops.flatMap((shop) => [...shopLines(shop, paint), '']),
    ...view.events.slice(-SHOWN_EVENTS).map((event) => paint('dim', clip(event, width - 1))),
  ];
  return lines;
}

/** For output that is no terminal: everything of this moment, each line by itself. */
export function renderPlain(view: View): string[] {
  return [
    `${seconds(view.elapsedMs)}  ${view.stage}`,
    ...view.shops.flatMap((shop) => [
      `  ${shop.title}: customers ${numbers(shop.customers)}`,
      ...shop.connections.map(
        ({ name, recent, counters }) =>
          `    ${name}: ${numbers(recent)}${
            counters
              ? `, circuit ${counters.circuit}, retried ${counters.retried}, refused ${counters.refused}, served ${counters.served}`
              : ''
          }`,
      ),
    ]),
  ];
}

function numbers({ ratePerSecond, errorPercent, p99Ms }: Recent): string {
  if (ratePerSecond === 0) return `${rate(0)}, nothing answered`;
  return `${rate(ratePerSecond)}, errors ${percent(errorPercent)}, p99 ${milliseconds(p99Ms)}`;
}

function header(view: View, width: number, paint: Paint): string {
  const left = 'Breakwater demo: one failure, two shops';
  const right = `${seconds(view.elapsedMs)} of ${seconds(view.durationMs)}`;
  return paint('bold', left) + right.padStart(width - left.length);
}

function progress(view: View, width: number, paint: Paint): string {
  const barWidth = width - view.stage.length - 1;
  if (barWidth < 8) return paint('yellow', clip(view.stage, width));
  const done = Math.round(Math.min(1, view.elapsedMs / view.durationMs) * barWidth);
  return `${paint('yellow', view.stage)} ${'█'.repeat(done)}${paint('dim', '░'.repeat(barWidth - done))}`;
}

function shopLines(shop: ShopView, paint: Paint): string[] {
  const guarded = shop.connections.some(({ counters }) => counters !== undefined);
  const titles = `${shop.title.padEnd(NAME_WIDTH)}${columns('rate', 'errors', 'p99')}`;
  const guardTitles = guarded ? `  ${'circuit'.padEnd(CIRCUIT_WIDTH)}${cells(['retried', 'refused', 'served'])}` : '';
  return [
    paint('bold', titles + guardTitles),
    row('customers', shop.customers, undefined, paint),
    ...shop.connections.map(({ name, recent, counters }) => row(name, recent, counters, paint)),
  ];
}

function row(name: string, recent: Recent, counters: DependencyCounters | undefined, paint: Paint): string {
  const { ratePerSecond, errorPercent, p99Ms } = recent;
  const style: Style = errorPercent >= 5 ? 'red' : 'green';
  const left = `${name.padEnd(NAME_WIDTH)}${rate(ratePerSecond).padStart(7)}`;
  const measured = `${left}${paint(style, percent(errorPercent).padStart(8))}${milliseconds(p99Ms).padStart(9)}`;
  if (!counters) return measured;
  const circuitStyle: Style =
    counters.circuit === 'open' ? 'red' : counters.circuit === 'half-open' ? 'yellow' : 'green';
  return `${measured}  ${paint(circuitStyle, counters.circuit.padEnd(CIRCUIT_WIDTH))}${cells([counters.retried, counters.refused, counters.served])}`;
}

const columns = (rateTitle: string, errorTitle: string, latencyTitle: string): string =>
  rateTitle.padStart(7) + errorTitle.padStart(8) + latencyTitle.padStart(9);
const cells = (values: readonly (string | number)[]): string =>
  values.map((value, index) => String(value).padStart(COUNTER_WIDTHS[index] ?? 0)).join('');
const rate = (perSecond: number): string => `${Math.round(perSecond)}/s`;
const percent = (value: number): string => `${Math.round(value)} %`;
const seconds = (ms: number): string => `${Math.floor(ms / 1000)} s`;
const clip = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}…`;

export function milliseconds(ms: number): string {
  if (ms >= 1_000) return `${(ms / 1000).toFixed(2)} s`;
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(1)} ms`;
}

export interface ShopResult {
  customers: Summary;
  /** Of the customers who only looked at their basket. */
  baskets: Summary;
  paid: number;
  paidLater: number;
  reachedUpstreamWhileOpen: number;
}

export interface Results {
  with: ShopResult;
  without: ShopResult;
}

export function renderTable({ with: guarded, without }: Results, paint: Paint): string[] {
  const line = (title: string, a: string | number, b: string | number) =>
    `${title.padEnd(52)}${String(a).padStart(12)}${String(b).padStart(14)}`;
  return [
    paint('bold', line('The same failure, both measured in this run', 'Breakwater', 'without')),
    line('requests of customers while payments failed', guarded.customers.requests, without.customers.requests),
    line('failed: an error, or no answer within 2 s', guarded.customers.failed, without.customers.failed),
    line('  of them baskets, which need no payment', guarded.baskets.failed, without.baskets.failed),
    line('orders paid at once', guarded.paid, without.paid),
    line('orders taken, to be paid later', guarded.paidLater, without.paidLater),
    line(
      'half of the customers waited at most',
      milliseconds(guarded.customers.p50Ms),
      milliseconds(without.customers.p50Ms),
    ),
    line(
      '99 % of the customers waited at most',
      milliseconds(guarded.customers.p99Ms),
      milliseconds(without.customers.p99Ms),
    ),
    line(
      'charges that reached payments while the circuit was',
      guarded.reachedUpstreamWhileOpen,
      without.reachedUpstreamWhileOpen,
    ),
    'open (probes are let through half open, so not here)',
  ];
}
