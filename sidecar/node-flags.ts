// How Node runs a sidecar: flags and environment that only count at its start, so whoever starts one takes them from here. Each is for memory, which every
// pod pays for; what each costs and saves stands in docs/benchmarks.md.
//   --single-threaded-gc   a heap this small is collected by the thread that runs it: helpers cost more in wake-ups than they save
//   --v8-pool-size=1       one helper thread for the compiler; three more are 8 MB
//   --no-maglev            the compiler in the middle: 11 MB for its graphs, and what is hot goes to the last one soon anyway
//   --max-semi-space-size=2   a young generation of 2 MB instead of 16: next to nothing of a request outlives it. With 1 MB the requests that 512
//     connections have under way at once do not fit, grow old there, and are collected with the whole heap
//   --disable-warning=ExperimentalWarning   node:ffi (memory/start-pages.ts) would write one among the lines of the log
// Not --optimize-for-size: it saves 4 MB more, and collects for every few read buffers, which doubles the CPU of large bodies.
export const SIDECAR_NODE_FLAGS = [
  '--single-threaded-gc',
  '--v8-pool-size=1',
  '--no-maglev',
  '--max-semi-space-size=2',
  '--disable-warning=ExperimentalWarning',
] as const;

/**
 * MALLOC_ARENA_MAX: one arena of malloc for all threads; what one of them gives back, the others can use.
 * UV_USE_IO_URING: libuv would tell the kernel by io_uring which sockets it waits for, which costs a connection of few bytes a tenth more than epoll_ctl,
 * and is not to be had in a pod with the default seccomp profile.
 */
export const SIDECAR_NODE_ENVIRONMENT = { MALLOC_ARENA_MAX: '1', UV_USE_IO_URING: '0' } as const;
