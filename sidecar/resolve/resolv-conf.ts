// /etc/resolv.conf, as far as it says how a name is completed, and the order in which the completions are asked for. PURE.
//
// A DNS query knows no search list; glibc and musl apply it before they ask. The sidecar must ask what the application's resolver would ask,
// or the same name could lead the two to different places.

export interface ResolvConf {
  search: readonly string[];
  /** A name with at least so many dots is asked for as it stands first. */
  ndots: number;
}

/** As glibc: more is ignored. */
const MAX_SEARCH = 32;
const MAX_NDOTS = 15;
const MAX_NAME_LENGTH = 253;

/** The last `search` or `domain` line counts, as in resolver(5); what is not understood is left out. */
export function readResolvConf(text: string): ResolvConf {
  let search: string[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword = '', ...words] = line.trim().split(/\s+/);
    if (keyword === 'search') search = words;
    else if (keyword === 'domain') search = words.slice(0, 1);
    else if (keyword === 'options') ndots = ndotsIn(words) ?? ndots;
  }
  return { search: search.map(withoutFinalDot).filter(isName).slice(0, MAX_SEARCH), ndots };
}

/** The names to ask DNS for, in this order, until one of them has addresses. None of them ends in a dot. */
export function queryNames(name: string, { search, ndots }: ResolvConf): string[] {
  if (name.endsWith('.')) return [name.slice(0, -1)].filter(isName);
  const dots = name.split('.').length - 1;
  const completed = search.map((suffix) => `${name}.${suffix}`);
  const names = dots >= ndots ? [name, ...completed] : [...completed, name];
  return names.filter(isName);
}

function ndotsIn(words: readonly string[]): number | undefined {
  for (const word of words) {
    const value = /^ndots:(\d{1,9})$/.exec(word)?.[1];
    if (value !== undefined) return Math.min(MAX_NDOTS, Number(value));
  }
  return undefined;
}

function withoutFinalDot(name: string): string {
  return name.endsWith('.') ? name.slice(0, -1) : name;
}

function isName(name: string): boolean {
  return name !== '' && name.length <= MAX_NAME_LENGTH;
}
