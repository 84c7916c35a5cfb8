// What must hold between the sidecar and a server behind it, whatever was sent to the sidecar: pure.
import type { Forwarded } from './relay.ts';
import type { SeenByServer } from './servers.ts';

/** An answer as the application got it. */
export interface Answer {
  status: number;
  /** The target that the server says it has answered; null: it was not that server, or it refused. */
  seen: string | null;
  /** The sidecar's own reason; empty: it passed on what the server answered. */
  reason: string;
}

export interface Account {
  /** What the sidecar sent to the server, by its own account. */
  forwarded: readonly Forwarded[];
  /** What it sent that is no request. */
  broken: readonly string[];
  /** What the server saw. */
  seen: readonly SeenByServer[];
  /** The server may answer, and tell, what it has not read to its end. */
  answersEarly: boolean;
  /** What an application got on one connection, in order. */
  answers: readonly Answer[];
  /** What it got that is no answer. */
  nonsense: readonly string[];
}

/** Each difference between the two accounts, in a sentence; none: both saw the same boundaries. */
export function violations({ forwarded, broken, seen, answersEarly, answers, nonsense }: Account): string[] {
  return [
    ...broken.map((bytes) => `the sidecar sent what is no request: ${JSON.stringify(bytes)}`),
    ...nonsense.map((what) => `the application got ${what}`),
    ...unknownToSidecar(forwarded, seen, answersEarly),
    ...answersOutOfPlace(forwarded, answers),
    ...forwarded.flatMap(({ id, target }, nth) => {
      const isAnswered = answers[nth]?.seen !== undefined && answers[nth].seen !== null;
      if (!isAnswered || seen.some((one) => one.id === id && one.complete)) return [];
      return [`the server answered ${target}, and says that it never saw it whole`];
    }),
  ];
}

function unknownToSidecar(
  forwarded: readonly Forwarded[],
  seen: readonly SeenByServer[],
  answersEarly: boolean,
): string[] {
  const found: string[] = [];
  // An application may give the same name to two of them.
  const open = Map.groupBy(forwarded, ({ id }) => id);
  const matched = new Set<Forwarded>();
  let unread = 0;
  for (const { id, method, target, length, complete } of seen) {
    const sent = open.get(id)?.find((request) => !matched.has(request));
    if (sent === undefined) {
      // It was refused before its fields were read: it may be any of those that the server never told.
      if (id === '' && !complete) unread += 1;
      else found.push(`the server saw ${method} ${target}, which the sidecar did not forward`);
      continue;
    }
    matched.add(sent);
    if (!complete || (answersEarly && !sent.complete)) continue;
    const [ours, theirs] = [
      `${sent.method} ${sent.target} with ${sent.length} bytes${sent.complete ? '' : ', cut off'}`,
      `${method} ${target} with ${length} bytes`,
    ];
    if (ours !== theirs) found.push(`the sidecar forwarded ${ours}, and the server saw ${theirs}`);
  }
  const left = forwarded.length - matched.size;
  if (unread > left) found.push(`the server refused ${unread} requests, and ${left} can have been meant`);
  return found;
}

function answersOutOfPlace(forwarded: readonly Forwarded[], answers: readonly Answer[]): string[] {
  return answers.flatMap(({ seen, status, reason }, nth) => {
    const asked = forwarded[nth];
    if (asked === undefined && reason === '') return [`an answer with status ${status} belongs to no request`];
    if (asked !== undefined && seen !== null && seen !== asked.target)
      return [`${asked.target} was answered as ${seen}`];
    if (asked?.complete === true && reason === 'deadline')
      return [`the server waits for more of ${asked.target} than was sent`];
    return [];
  });
}
