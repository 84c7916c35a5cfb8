/**
 * Options of a test that holds answers to real time, on a machine where a whole cluster runs beside them: the scheduler alone takes a process of a
 * small pod off for longer than some of these bounds. It is tried again, and fails where it is too late each time. What the sidecar does too
 * late it does too late each time.
 */
export const REAL_TIME = { retry: 2 } as const;
