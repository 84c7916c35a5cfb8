// As breakages.ts: promises about HTTP/2 that are broken on purpose, one at a time, in the real code.
import { Http2Connection } from '../../sidecar/http2/connection.ts';
import { ErrorCode } from '../../sidecar/http2/error-code.ts';
import { AttemptResult } from '../../sidecar/metrics/route-metrics.ts';
import { Http2Call } from '../../sidecar/proxy/application/http2-call.ts';
import { Http2Client } from '../../sidecar/proxy/application/http2-client.ts';
import { Attempts } from '../../sidecar/proxy/exchange/attempts.ts';
import { Http2Leg } from '../../sidecar/proxy/upstream/http2-leg.ts';
import { Http2Session } from '../../sidecar/proxy/upstream/http2-session.ts';
import type { Breakage } from './breakages.ts';
import { wrap } from './wrap.ts';

export const HTTP2_BREAKAGES: Readonly<Record<string, Breakage>> = {
  'a stream that was reset and counts as refused': () =>
    wrap(Http2Leg.prototype, 'resetCame', (original) => {
      return function (this: Http2Leg) {
        original.call(this, ErrorCode.RefusedStream);
      };
    }),
  'a connection that ends, all of whose streams count as refused': () =>
    wrap(Http2Connection.prototype, 'end', (original) => {
      return function (this: Http2Connection) {
        original.call(this, ErrorCode.RefusedStream);
      };
    }),
  'what was refused that is sent again for ever': () =>
    wrap(Attempts.prototype, 'mayGoAgainUnsent', (original) => {
      return function (this: Attempts, unsent, result) {
        return result === AttemptResult.refused || original.call(this, unsent, result);
      };
    }),
  'a connection that does not count its streams': () =>
    wrap(Http2Session.prototype, 'settingsCame', (original) => {
      return function (this: Http2Session) {
        original.call(this, Number.POSITIVE_INFINITY);
      };
    }),
  'half an answer that passes for all of it': () =>
    wrap(Http2Leg.prototype, 'resetCame', (original) => {
      return function (this: Http2Leg, code) {
        if (code !== ErrorCode.NoError) this.endCame();
        original.call(this, code);
      };
    }),
  'trailers that are lost': () =>
    wrap(Http2Leg.prototype, 'fieldsCame', (original) => {
      return function (this: Http2Leg, fields, ended) {
        if (fields[0] === ':status') original.call(this, fields, ended);
        else this.endCame();
      };
    }),
  'half of a body that is sent': () =>
    wrap(Http2Leg.prototype, 'sendData', (original) => {
      return function (this: Http2Leg, buffer, start, end) {
        original.call(this, buffer, start, Math.floor((start + end) / 2));
      };
    }),
  'a stream that is given up and goes on': () => wrap(Http2Leg.prototype, 'destroy', () => () => {}),
  'an answer over HTTP/2 that is never given': () => wrap(Http2Call.prototype, 'answerLocally', () => () => {}),
  'a stream that is another one’s as well': () =>
    wrap(Http2Client.prototype, 'giveBack', (original) => {
      return function (this: Http2Client, call) {
        original.call(this, call);
        original.call(this, call);
      };
    }),
};
