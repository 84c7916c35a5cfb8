// RFC 9113, 6.5.2.
import { expect, it } from 'vitest';
import { uint32 } from '../proxy/testing/http2-frames.ts';
import { ErrorCode } from './error-code.ts';
import { DEFAULT_WINDOW_BYTES, MAX_WINDOW_BYTES, Setting } from './frames.ts';
import { PeerSettings } from './peer-settings.ts';

type Pair = readonly [setting: number, value: number];

function payloadOf(pairs: readonly Pair[]): Buffer {
  return Buffer.concat(
    pairs.map(([setting, value]) => Buffer.concat([Buffer.from([setting >> 8, setting]), uint32(value)])),
  );
}

function read(pairs: readonly Pair[], fromClient = true): { code: number; settings: PeerSettings } {
  const settings = new PeerSettings();
  const payload = Buffer.concat([Buffer.from('before'), payloadOf(pairs), Buffer.from('behind')]);
  return { code: settings.read(payload, 6, payload.length - 6, fromClient), settings };
}

it('begin with what holds where nothing was said', () => {
  expect(read([])).toMatchObject({
    code: ErrorCode.NoError,
    settings: { initialWindowBytes: DEFAULT_WINDOW_BYTES, maxConcurrentStreams: Number.POSITIVE_INFINITY },
  });
});

it('are those that were said last', () => {
  const { code, settings } = read([
    [Setting.InitialWindowSize, 5],
    [Setting.MaxConcurrentStreams, 7],
    [Setting.InitialWindowSize, MAX_WINDOW_BYTES],
    [Setting.MaxConcurrentStreams, 0],
  ]);
  expect(code).toBe(ErrorCode.NoError);
  expect(settings).toMatchObject({ initialWindowBytes: MAX_WINDOW_BYTES, maxConcurrentStreams: 0 });
});

it.each<[Pair, boolean]>([
  [[Setting.MaxFrameSize, 16_384], true],
  [[Setting.MaxFrameSize, 16_777_215], true],
  [[Setting.EnablePush, 0], true],
  [[Setting.EnablePush, 1], true],
  [[Setting.EnablePush, 0], false],
  [[Setting.MaxHeaderListSize, 0xffff_ffff], false],
  [[0x1, 0xffff_ffff], true],
  [[0xffff, 0xffff_ffff], true],
])('may be %j', (pair, fromClient) => {
  expect(read([pair], fromClient).code).toBe(ErrorCode.NoError);
});

it.each<[Pair, boolean, number]>([
  [[Setting.InitialWindowSize, MAX_WINDOW_BYTES + 1], true, ErrorCode.FlowControlError],
  [[Setting.MaxFrameSize, 16_383], true, ErrorCode.ProtocolError],
  [[Setting.MaxFrameSize, 16_777_216], true, ErrorCode.ProtocolError],
  [[Setting.EnablePush, 2], true, ErrorCode.ProtocolError],
  [[Setting.EnablePush, 1], false, ErrorCode.ProtocolError],
])('may not be %j', (pair, fromClient, code) => {
  expect(read([pair], fromClient).code).toBe(code);
});

it('are six bytes each', () => {
  const payload = payloadOf([[Setting.InitialWindowSize, 5]]);
  for (let bytes = 1; bytes < 6; bytes++)
    expect(new PeerSettings().read(payload, 0, bytes, true)).toBe(ErrorCode.FrameSizeError);
});
