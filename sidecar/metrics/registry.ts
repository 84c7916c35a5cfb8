// All metrics of a sidecar, and the text of a scrape: the Prometheus text format 0.0.4. Nothing is counted here; samples are made when
// somebody asks. Own code, for what a library adds is 10 MB of memory beside every application.
import type { MetricDefinition } from './definitions.ts';

export interface Sample {
  labels: Record<string, string | number>;
  value: number;
  /** Of a histogram: its name with `_bucket`, `_sum` or `_count`; absent: the metric's own. */
  metricName?: string;
}

/** A metric whose samples are made at the scrape. */
export interface SampledSeries {
  definition: MetricDefinition;
  sample: () => Sample[];
}

export interface SampledMetric extends MetricDefinition {
  values: Sample[];
}

export class MetricRegistry {
  readonly contentType: string = 'text/plain; version=0.0.4; charset=utf-8';
  readonly #series = new Map<string, SampledSeries>();

  /** Throws where there is one of that name: a scrape with both could not be read. */
  register(series: SampledSeries): void {
    const { name } = series.definition;
    if (this.#series.has(name)) throw new Error(`the metric ${name} is registered already`);
    this.#series.set(name, series);
  }

  getMetricsAsJSON(): SampledMetric[] {
    return Array.from(this.#series.values(), ({ definition, sample }) => ({ ...definition, values: sample() }));
  }

  metrics(): string {
    let text = '';
    for (const { definition, sample } of this.#series.values()) {
      const { name, type, help } = definition;
      text += `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n`;
      for (const { labels, value, metricName = name } of sample()) {
        text += `${metricName}${labelText(labels)} ${valueText(value)}\n`;
      }
      text += '\n';
    }
    return text;
  }
}

function labelText(labels: Sample['labels']): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(String(value))}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function valueText(value: number): string {
  if (value === Number.POSITIVE_INFINITY) return '+Inf';
  return value === Number.NEGATIVE_INFINITY ? '-Inf' : String(value);
}

const escapeHelp = (text: string): string => text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
const escapeLabel = (text: string): string => escapeHelp(text).replaceAll('"', '\\"');
