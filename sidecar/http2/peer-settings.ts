// What the other side says of itself (RFC 9113, 6.5.2), as far as it bounds what we send. Our frames are never larger than anybody takes, so what it
// says of these is only looked at for whether it may be said.
import { ErrorCode } from './error-code.ts';
import { DEFAULT_WINDOW_BYTES, MAX_FRAME_BYTES, MAX_WINDOW_BYTES, Setting } from './frames.ts';
import { DEFAULT_TABLE_BYTES } from './hpack/static-table.ts';

const SETTING_BYTES = 6;
const LARGEST_FRAME_BYTES = 16_777_215;

export class PeerSettings {
  initialWindowBytes = DEFAULT_WINDOW_BYTES;
  headerTableBytes = DEFAULT_TABLE_BYTES;
  /** Not bounded where nothing was said. */
  maxConcurrentStreams = Number.POSITIVE_INFINITY;

  /** The payload of SETTINGS. `fromClient`: whose they are. Answers an `ErrorCode` of the connection; 0: they hold from now on. */
  read(buffer: Buffer, start: number, end: number, fromClient: boolean): number {
    if ((end - start) % SETTING_BYTES !== 0) return ErrorCode.FrameSizeError;
    for (let at = start; at < end; at += SETTING_BYTES) {
      const code = this.#set(buffer.readUInt16BE(at), buffer.readUInt32BE(at + 2), fromClient);
      if (code !== ErrorCode.NoError) return code;
    }
    return ErrorCode.NoError;
  }

  #set(setting: number, value: number, fromClient: boolean): number {
    switch (setting) {
      case Setting.HeaderTableSize:
        this.headerTableBytes = value;
        return ErrorCode.NoError;
      case Setting.EnablePush:
        return value > 1 || (value === 1 && !fromClient) ? ErrorCode.ProtocolError : ErrorCode.NoError;
      case Setting.MaxConcurrentStreams:
        this.maxConcurrentStreams = value;
        return ErrorCode.NoError;
      case Setting.InitialWindowSize:
        if (value > MAX_WINDOW_BYTES) return ErrorCode.FlowControlError;
        this.initialWindowBytes = value;
        return ErrorCode.NoError;
      case Setting.MaxFrameSize:
        return value < MAX_FRAME_BYTES || value > LARGEST_FRAME_BYTES ? ErrorCode.ProtocolError : ErrorCode.NoError;
      default:
        return ErrorCode.NoError;
    }
  }
}
