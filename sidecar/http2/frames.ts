// Frames of HTTP/2 as they stand on the wire (RFC 9113, 4 and 6), and how ours are written: as latin1 text, since many of them leave in one write.

/** RFC 9113, 6. */
export const FrameType = {
  Data: 0x0,
  Headers: 0x1,
  Priority: 0x2,
  RstStream: 0x3,
  Settings: 0x4,
  PushPromise: 0x5,
  Ping: 0x6,
  GoAway: 0x7,
  WindowUpdate: 0x8,
  Continuation: 0x9,
} as const;

export const Flag = { EndStream: 0x1, Ack: 0x1, EndHeaders: 0x4, Padded: 0x8, Priority: 0x20 } as const;

/** RFC 9113, 6.5.2. */
export const Setting = {
  HeaderTableSize: 0x1,
  EnablePush: 0x2,
  MaxConcurrentStreams: 0x3,
  InitialWindowSize: 0x4,
  MaxFrameSize: 0x5,
  MaxHeaderListSize: 0x6,
} as const;

export const FRAME_HEAD_BYTES = 9;
/** What nobody has to ask for: we announce no other, and send no larger frames to whoever would take them. */
export const MAX_FRAME_BYTES = 16_384;
export const MAX_WINDOW_BYTES = 2_147_483_647;
export const MAX_STREAM_ID = 2_147_483_647;
/** Of a connection, and of a stream whose peer has said nothing else. */
export const DEFAULT_WINDOW_BYTES = 65_535;

/** What a client begins its connection with (RFC 9113, 3.4). */
export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

export function uint32(value: number): string {
  return String.fromCharCode((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** `stream` 0: of the connection. */
export function frameHead(length: number, type: number, flags: number, stream: number): string {
  return String.fromCharCode(
    (length >>> 16) & 0xff,
    (length >>> 8) & 0xff,
    length & 0xff,
    type,
    flags,
    (stream >>> 24) & 0x7f,
    (stream >>> 16) & 0xff,
    (stream >>> 8) & 0xff,
    stream & 0xff,
  );
}

export function settingsFrame(settings: readonly (readonly [setting: number, value: number])[]): string {
  const payload = settings.map(([setting, value]) => String.fromCharCode(0, setting) + uint32(value)).join('');
  return frameHead(payload.length, FrameType.Settings, 0, 0) + payload;
}

export const SETTINGS_ACK = frameHead(0, FrameType.Settings, Flag.Ack, 0);

/** `payload`: eight bytes. */
export function pingFrame(payload: string, ack: boolean): string {
  return frameHead(payload.length, FrameType.Ping, ack ? Flag.Ack : 0, 0) + payload;
}

export function resetFrame(stream: number, code: number): string {
  return frameHead(4, FrameType.RstStream, 0, stream) + uint32(code);
}

export function windowUpdateFrame(stream: number, bytes: number): string {
  return frameHead(4, FrameType.WindowUpdate, 0, stream) + uint32(bytes);
}

export function goAwayFrame(lastStream: number, code: number): string {
  return frameHead(8, FrameType.GoAway, 0, 0) + uint32(lastStream) + uint32(code);
}

/** A field section that may be larger than a frame: HEADERS, and what is left of it in CONTINUATION. */
export function headersFrames(stream: number, block: string, endStream: boolean): string {
  const flags = endStream ? Flag.EndStream : 0;
  if (block.length <= MAX_FRAME_BYTES)
    return frameHead(block.length, FrameType.Headers, flags | Flag.EndHeaders, stream) + block;
  let frames = frameHead(MAX_FRAME_BYTES, FrameType.Headers, flags, stream) + block.slice(0, MAX_FRAME_BYTES);
  for (let start = MAX_FRAME_BYTES; start < block.length; start += MAX_FRAME_BYTES) {
    const part = block.slice(start, start + MAX_FRAME_BYTES);
    const last = start + MAX_FRAME_BYTES >= block.length;
    frames += frameHead(part.length, FrameType.Continuation, last ? Flag.EndHeaders : 0, stream) + part;
  }
  return frames;
}
