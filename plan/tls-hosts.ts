// Hosts that a pod declared with TLS when it was made, as its sidecar is told before it has a plan: "api.stripe.com:80,api.partner.example:8080",
// the ports being those that the application calls. What goes there in plain text until the plan says how to speak TLS is refused.

export interface TlsHost {
  name: string;
  port: number;
}

/** Of one pod. Names have at most 253 characters, so that the text stays below 68 KB; the kernel takes 128 KiB in one variable. */
export const MAX_TLS_HOSTS = 256;

export function writeTlsHosts(hosts: readonly TlsHost[]): string {
  return hosts.map(({ name, port }) => `${name}:${port}`).join(',');
}

/** Null: it is no such text. Empty: there are none. */
export function readTlsHosts(text: string): TlsHost[] | null {
  if (text === '') return [];
  const hosts: TlsHost[] = [];
  for (const item of text.split(',')) {
    const { name = '', port = '' } =
      /^(?<name>[a-z0-9]([-.a-z0-9]*[a-z0-9])?):(?<port>\d{1,5})$/i.exec(item)?.groups ?? {};
    const number = Number(port);
    if (name === '' || name.length > 253 || number < 1 || number > 65_535) return null;
    hosts.push({ name, port: number });
  }
  return hosts.length > MAX_TLS_HOSTS ? null : hosts;
}
