// Reads Prometheus' text format, as far as our own metrics use it: pure.

export interface Sample {
  name: string;
  labels: Readonly<Record<string, string>>;
  value: number;
}

/** Lines that are no samples are passed over. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?$/.exec(line);
    if (!match) continue;
    const [, name = '', labelText = '', value = ''] = match;
    const labels: Record<string, string> = {};
    for (const [, key = '', quoted = ''] of labelText.matchAll(/([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g)) {
      labels[key] = quoted.replaceAll(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    }
    samples.push({ name, labels, value: Number(value) });
  }
  return samples;
}

/** Sum of the samples of that name whose labels pass. */
export function sumOf(
  samples: readonly Sample[],
  name: string,
  pass: (labels: Sample['labels']) => boolean = () => true,
): number {
  return samples.reduce((sum, sample) => (sample.name === name && pass(sample.labels) ? sum + sample.value : sum), 0);
}
