// Preloaded (`node --import`) into every process that must not outlive the one that started it: that one holds the writing end of a pipe,
// and the kernel closes it when it ends, even by SIGKILL. Then this process asks itself to stop as it would be asked from outside, by
// SIGTERM, and is killed if it has not ended after the grace.
import { Socket } from 'node:net';

const fd = Number(process.env.BREAKWATER_PARENT_FD);
const graceMs = Number(process.env.BREAKWATER_PARENT_GRACE_MS ?? '5000');
// Not for grandchildren: the descriptor is not inherited, and the number would name something else there.
delete process.env.BREAKWATER_PARENT_FD;
delete process.env.BREAKWATER_PARENT_GRACE_MS;

// Worker threads run preloads as well; the pipe belongs to the main thread, where the variable is still set.
if (Number.isInteger(fd) && fd > 2) {
  const pipe = new Socket({ fd, readable: true, writable: false });
  const end = () => {
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), graceMs).unref();
    process.kill(process.pid, 'SIGTERM');
  };
  pipe.on('error', end);
  pipe.on('end', end);
  pipe.resume();
  pipe.unref();
}
