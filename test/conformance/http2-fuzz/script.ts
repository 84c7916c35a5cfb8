// What a hostile peer of HTTP/2 does on one connection, step by step, and how that is written down. The text is what a failure prints and what the
// folder `corpus` keeps:
//
//   # a comment
//   calls GET POST:70000 PUT:9!     what an application that means well asks for
//   application                     steps of the application; without it, it means well
//   > 505249…                       writes these bytes, hexadecimal
//   dependency                      steps of each connection to the dependency; without it, it means well
//   listen                          waits until something comes, for a moment at most
import { FrameType, type framesOf } from '../../../sidecar/proxy/testing/http2-frames.ts';

/** Beside writing: */
export const ACTS = [
  /** Until something comes, or a moment has passed. */
  'listen',
  /** What follows is a read of its own for the other side. */
  'turn',
  /** Reads nothing more, until `resume`. */
  'pause',
  'resume',
  /** FIN. */
  'end',
  /** RST of TCP. */
  'reset',
] as const;
export type Act = (typeof ACTS)[number];
export type Step = Buffer | Act;

/** Of an application that means well. */
export interface Call {
  method: string;
  /** Of the body. */
  bytes: number;
  /** Behind these bytes: the end, after a moment RST_STREAM (`!`), or nothing (`~`). */
  last: 'end' | 'cancel' | 'nothing';
}

/** Null: that side means well. */
export interface Script {
  calls: readonly Call[];
  application: readonly Step[] | null;
  dependency: readonly Step[] | null;
}

const isAct = (text: string): text is Act => (ACTS as readonly string[]).includes(text);

export function readScript(text: string): Script {
  const script = { calls: [] as Call[], application: null as Step[] | null, dependency: null as Step[] | null };
  let steps: Step[] | null = null;
  for (const line of text.split('\n').map((each) => each.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    if (line.startsWith('calls ')) {
      script.calls = line.split(' ').slice(1).map(readCall);
    } else if (line === 'application' || line === 'dependency') {
      steps = [];
      script[line] = steps;
    } else {
      const step = line.startsWith('>') ? Buffer.from(line.slice(1).replaceAll(' ', ''), 'hex') : line;
      if (steps === null || (typeof step === 'string' && !isAct(step))) throw new Error(`not a step: ${line}`);
      steps.push(step);
    }
  }
  return script;
}

function readCall(text: string): Call {
  const [, method, bytes = '0', mark = ''] = /^([A-Z]+)(?::(\d+))?([!~]?)$/.exec(text) ?? [];
  if (method === undefined) throw new Error(`not a call: ${text}`);
  return { method, bytes: Number(bytes), last: mark === '!' ? 'cancel' : mark === '~' ? 'nothing' : 'end' };
}

export function writeScript({ calls, application, dependency }: Script): string {
  const lines = calls.length === 0 ? [] : [`calls ${calls.map(writeCall).join(' ')}`];
  for (const [side, steps] of Object.entries({ application, dependency })) {
    if (steps === null) continue;
    lines.push(side, ...steps.map((step) => (typeof step === 'string' ? step : `> ${step.toString('hex')}`)));
  }
  return `${lines.join('\n')}\n`;
}

const MARKS = { end: '', cancel: '!', nothing: '~' } as const;
const writeCall = ({ method, bytes, last }: Call): string => `${method}:${bytes}${MARKS[last]}`;

const NAMES = new Map<number, string>(Object.entries(FrameType).map(([name, type]) => [type, name.toUpperCase()]));

/** A frame as a reader sees it, for the comments of what is shown. */
export function describeFrame({ type, flags, stream, payload }: ReturnType<typeof framesOf>[number]): string {
  const name = NAMES.get(type) ?? `type ${type}`;
  return `${name} flags ${flags.toString(16)} stream ${stream}, ${payload.length} bytes`;
}
