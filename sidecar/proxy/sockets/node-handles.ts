// The handles that Node's sockets are made of: connections of libuv, without streams around them. A socket of Node is a stream that can be read and one
// that can be written, with their buffers, events and ticks; for a connection that only passes bytes on, and is over after a few of them, these cost
// more than the system calls (docs/adr/0018-handles-for-opaque-connections.md).
//
// They are no public API. `process.binding` has given them since before Node 1, and node:net uses them in the way that they are used here; a test at
// start (handles-check.ts) decides whether they are what they are known to be in the running Node, and where they are not, sockets are used.

/** What carries out one operation that may not finish at once. */
export interface OperationRequest {
  oncomplete(status: number): void;
}

/** A connection of libuv. Results below 0 are its errors. */
export interface TcpHandle {
  readonly fd: number;
  /** What is returned takes the place of the buffer that was read into. */
  onread(): Buffer | undefined;
  useUserBuffer(buffer: Buffer): void;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: OperationRequest, bytes: Buffer): number;
  writeLatin1String(request: OperationRequest, text: string): number;
  shutdown(request: OperationRequest): number;
  connect(request: OperationRequest, address: string, port: number): number;
  connect6(request: OperationRequest, address: string, port: number): number;
  setNoDelay(on: boolean): number;
  setKeepAlive(on: boolean, delaySeconds: number): number;
  close(): void;
  reset(): number;
}

type RequestConstructor = new () => OperationRequest;

export interface NodeHandles {
  newTcp(): TcpHandle;
  readonly ConnectRequest: RequestConstructor;
  readonly WriteRequest: RequestConstructor;
  readonly ShutdownRequest: RequestConstructor;
  /** Of the callback that runs: how many bytes were read; below 0: the error. */
  bytesRead(): number;
  /** Whether the last write goes on after its call. */
  lastWriteGoesOn(): boolean;
}

interface TcpBinding {
  TCP?: new (type: number) => TcpHandle;
  TCPConnectWrap?: RequestConstructor;
  constants?: { SOCKET?: number };
}

interface StreamBinding {
  WriteWrap?: RequestConstructor;
  ShutdownWrap?: RequestConstructor;
  streamBaseState?: Int32Array;
  kReadBytesOrError?: number;
  kLastWriteWasAsync?: number;
}

/** Null: this Node has none, or others than those that are known. */
export function findNodeHandles(): NodeHandles | null {
  const { binding } = process as unknown as { binding?: (name: string) => unknown };
  if (!binding) return null;
  try {
    return handlesOf(binding('tcp_wrap') as TcpBinding, binding('stream_wrap') as StreamBinding);
  } catch {
    return null;
  }
}

function handlesOf(
  { TCP: Tcp, TCPConnectWrap: ConnectRequest, constants }: TcpBinding,
  { WriteWrap: WriteRequest, ShutdownWrap: ShutdownRequest, streamBaseState, ...at }: StreamBinding,
): NodeHandles | null {
  const { kReadBytesOrError, kLastWriteWasAsync } = at;
  const type = constants?.SOCKET;
  if (!Tcp || !ConnectRequest || !WriteRequest || !ShutdownRequest || !streamBaseState) return null;
  if (type === undefined || kReadBytesOrError === undefined || kLastWriteWasAsync === undefined) return null;
  return {
    newTcp: () => new Tcp(type),
    ConnectRequest,
    WriteRequest,
    ShutdownRequest,
    bytesRead: () => streamBaseState[kReadBytesOrError] ?? 0,
    lastWriteGoesOn: () => streamBaseState[kLastWriteWasAsync] !== 0,
  };
}
