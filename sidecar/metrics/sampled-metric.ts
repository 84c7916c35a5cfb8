// A metric whose samples are made at the scrape; prom-client keeps the registry and writes the text.
import type { MetricDefinition } from './definitions.ts';

export interface Sample {
  labels: Record<string, string | number>;
  value: number;
  metricName?: string;
}

/** What prom-client's registry asks of its entries. */
export class SampledMetric {
  readonly name: string;
  readonly help: string;
  readonly type: MetricDefinition['type'];
  readonly aggregator = 'sum';
  readonly #sample: () => Sample[];

  constructor(definition: MetricDefinition, sample: () => Sample[]) {
    this.name = definition.name;
    this.help = definition.help;
    this.type = definition.type;
    this.#sample = sample;
  }

  get(): { name: string; help: string; type: string; aggregator: string; values: Sample[] } {
    return { name: this.name, help: this.help, type: this.type, aggregator: this.aggregator, values: this.#sample() };
  }

  reset(): void {}
}

export interface SampledSeries {
  definition: MetricDefinition;
  sample: () => Sample[];
}
