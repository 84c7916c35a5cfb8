// How Node runs a sidecar: flags that only count at its start, so whoever starts one takes them from here (the image's entry point has
// them written out; a test compares).
//   --single-threaded-gc   a heap this small is collected by the thread that runs it: helpers cost more in wake-ups than they save
//   --v8-pool-size=1       one helper thread for the compiler; three more are 8 MB of memory beside every application
export const SIDECAR_NODE_FLAGS = ['--single-threaded-gc', '--v8-pool-size=1'] as const;
