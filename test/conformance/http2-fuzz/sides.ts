// What is special of either side: requests of a hostile application, answers of a hostile dependency. And whole scripts, by their seed.
import { type Random, seededRandom } from '../../../runtime/random.ts';
import { Flag, FrameType, frame, PREFACE, uint32 } from '../../../sidecar/proxy/testing/http2-frames.ts';
import { oneOf, upTo } from '../garden/mutate.ts';
import type { Field } from './hpack.ts';
import { mutatedSteps } from './mutate.ts';
import type { Call, Script, Step } from './script.ts';
import { ODD_FIELDS, Talk } from './talk.ts';

/** What the dependency that means well does at each (peers.ts). */
export const PATHS = [
  '/answer',
  '/echo',
  '/big',
  '/hang',
  '/endless',
  '/reset',
  '/refuse',
  '/early',
  '/interim',
  '/trailers',
  '/',
] as const;
const ENDS = ['end', 'end', 'end', 'end', 'cancel', 'nothing'] as const;
const BODIES = [0, 1, 5, 1_000, 16_384, 40_000];

function requestFields(talk: Talk, length: number): Field[] {
  const { random } = talk;
  const method =
    length >= 0 ? oneOf(random, ['POST', 'PUT']) : oneOf(random, ['GET', 'GET', 'HEAD', 'POST', 'OPTIONS']);
  const fields: Field[] = [
    [':method', method],
    [':scheme', 'http'],
    [':authority', 'good.test'],
    [':path', oneOf(random, PATHS)],
  ];
  if (length >= 0 && random() < 0.5) fields.push(['content-length', String(talk.odd() ? length + 1 : length)]);
  if (random() < 0.2) fields.push(['te', 'trailers']);
  if (random() < 0.2) fields.push(['content-type', 'application/grpc'], ['grpc-timeout', '200m']);
  if (random() < 0.2) fields.push(['custom-key', 'custom-value'], ['cookie', 'a=b'], ['cookie', 'c=d']);
  if (talk.odd()) fields.push(oneOf(random, ODD_FIELDS));
  if (talk.odd()) fields.splice(upTo(random, fields.length), 1);
  if (talk.odd()) fields.push(['x-long', 'l'.repeat(oneOf(random, [5_000, 17_000, 70_000]))]);
  return fields;
}

function request(talk: Talk): void {
  const { random, streams } = talk;
  const stream = (streams.at(-1) ?? -1) + 2;
  streams.push(stream);
  const length = random() < 0.4 ? oneOf(random, BODIES) : -1;
  talk.headers(stream, requestFields(talk, length), length < 0);
  for (let left = length; left > 0; ) {
    talk.breathe();
    const bytes = Math.min(left, 1 + upTo(random, 16_384));
    left -= bytes;
    talk.data(stream, bytes, left === 0 && random() < 0.5);
    if (talk.odd()) break;
  }
  if (length >= 0 && random() < 0.7) {
    if (random() < 0.5)
      talk.headers(stream, [['x-last', '1'], ...(talk.odd() ? [oneOf(random, ODD_FIELDS)] : [])], !talk.odd());
    else talk.data(stream, 0, true);
  }
}

/** The bytes of an application, from its preface on. */
function application(random: Random): Step[] {
  const talk = new Talk(random);
  talk.write(talk.odd() ? PREFACE.subarray(0, 1 + upTo(random, PREFACE.length)) : PREFACE);
  if (random() < 0.5) talk.write(frame(FrameType.settings, 0, 0));
  else talk.settings();
  for (let left = 1 + upTo(random, 12); left > 0; left--) {
    talk.breathe();
    if (random() < 0.5) request(talk);
    else talk.anything();
  }
  return ended(talk);
}

function answer(talk: Talk, stream: number): void {
  const { random } = talk;
  for (let left = random() < 0.2 ? 1 + upTo(random, 5) : 0; left > 0; left--) {
    const interim: Field[] = [[':status', oneOf(random, ['100', '102', '103', '101'])], oneOf(random, ODD_FIELDS)];
    talk.headers(stream, talk.odd() ? interim : interim.slice(0, 1), talk.odd());
    talk.breathe();
  }
  const length = oneOf(random, BODIES);
  const fields: Field[] = [
    [
      ':status',
      talk.odd()
        ? oneOf(random, ['', '99', '600', '2000', 'ok'])
        : oneOf(random, ['200', '200', '204', '304', '404', '500', '503']),
    ],
  ];
  if (random() < 0.5) fields.push(['content-length', String(talk.odd() ? length + 1 : length)]);
  if (random() < 0.2) fields.push(['content-type', 'application/grpc'], ['grpc-status', '0']);
  if (random() < 0.1) fields.push(['content-type', 'text/event-stream']);
  if (talk.odd()) fields.push(oneOf(random, ODD_FIELDS));
  talk.headers(stream, fields, length === 0 && random() < 0.8);
  for (let left = length; left > 0; ) {
    talk.breathe();
    const bytes = Math.min(left, 1 + upTo(random, 16_384));
    left -= bytes;
    talk.data(stream, bytes, left === 0 && random() < 0.6);
    if (talk.odd()) break;
  }
  if (random() < 0.4)
    talk.headers(stream, [['x-last', '1'], ...(random() < 0.3 ? [oneOf(random, ODD_FIELDS)] : [])], !talk.odd());
}

/** PUSH_PROMISE, which nobody allows here, and now and then what is pushed. */
function push(talk: Talk): void {
  const { random } = talk;
  const promised = oneOf(random, [2, 4, 6, 8]);
  // Index 2, 6 and 4 of the static table, and an authority.
  const block = Buffer.concat([Buffer.from([0x82, 0x86, 0x84, 0x41, 1]), Buffer.from('a')]);
  talk.write(frame(5, Flag.endHeaders, talk.stream(), Buffer.concat([uint32(promised), block])));
  if (random() < 0.7) talk.headers(promised, [[':status', '200']], random() < 0.3);
  if (random() < 0.5) talk.data(promised, upTo(random, 10_000), random() < 0.3);
}

/** The bytes of a dependency: what it is asked has the streams 1, 3, 5. */
function dependency(random: Random): Step[] {
  const talk = new Talk(random);
  if (!talk.odd()) talk.write(frame(FrameType.settings, 0, 0));
  if (random() < 0.3) talk.settings();
  if (random() < 0.3) talk.write(frame(FrameType.windowUpdate, 0, 0, uint32(2 ** 20)));
  talk.act('listen');
  talk.act('listen');
  talk.streams.push(1, 3, 5);
  const due = [1, 3, 5, 7];
  for (let left = 1 + upTo(random, 10); left > 0; left--) {
    talk.breathe();
    const chance = random();
    if (chance < 0.5) answer(talk, due.shift() ?? talk.stream());
    else if (chance < 0.55) push(talk);
    else talk.anything();
  }
  return ended(talk);
}

/** How the connection goes where nobody else ends it. */
function ended({ steps, random }: Talk): Step[] {
  if (random() < 0.7) steps.push('listen');
  if (random() < 0.3) steps.push(oneOf(random, ['end', 'reset']));
  return steps;
}

function calls(random: Random): Call[] {
  return Array.from({ length: 1 + upTo(random, 4) }, () => {
    const method = oneOf(random, ['GET', 'GET', 'HEAD', 'POST', 'PUT']);
    const sends = method === 'POST' || method === 'PUT';
    return { method, bytes: sends ? oneOf(random, [1, 1_000, 70_000, 600_000]) : 0, last: oneOf(random, ENDS) };
  });
}

/** The script of a seed. */
export function scriptOf(seed: number): Script {
  // Seeds that are alike would begin alike.
  const random = seededRandom(Math.imul(seed, 0x9e3779b1));
  for (let left = 4; left > 0; left--) random();
  const side = random();
  const hostileApplication = side < 0.5;
  const hostileDependency = side >= 0.45;
  const some = (steps: Step[]) => mutatedSteps(steps, random);
  return {
    calls: hostileApplication ? [] : calls(random),
    application: hostileApplication ? some(application(random)) : null,
    dependency: hostileDependency ? some(dependency(random)) : null,
  };
}
