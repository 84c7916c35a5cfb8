// How Node runs a sidecar: flags that only count at its start, so whoever starts one takes them from here. Each is for memory, which every
// pod pays for; what each costs and saves stands in docs/benchmarks.md.
//   --single-threaded-gc   a heap this small is collected by the thread that runs it: helpers cost more in wake-ups than they save
//   --v8-pool-size=1       one helper thread for the compiler; three more are 8 MB
//   --no-maglev            the compiler in the middle: 11 MB for its graphs, and what is hot goes to the last one soon anyway
//   --max-semi-space-size=1   a young generation of 1 MB instead of 16: next to nothing of a request outlives it
// Not --optimize-for-size: it saves 4 MB more, and collects for every few read buffers, which doubles the CPU of large bodies.
export const SIDECAR_NODE_FLAGS = [
  '--single-threaded-gc',
  '--v8-pool-size=1',
  '--no-maglev',
  '--max-semi-space-size=1',
] as const;
