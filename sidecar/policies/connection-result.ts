// What an opaque connection says of its dependency. Of its bytes nothing can be read, so that three things are left: whether the connection
// was made, whether the dependency sent anything on it, and who ended it.
//
// What the peers do: Envoy's TCP proxy tells outlier detection of connects that succeed or fail and of nothing after; HAProxy's `observe layer4`
// counts failures of the connect and of the check that follows; Linkerd's failure accrual reads HTTP alone, and backs off where connects
// fail. To all of them whoever accepts is well. But a proxy, a load balancer or a full listener in front of what is gone accepts too, and then
// cuts the connection. So here a connection is a success with the first byte of the dependency, and a Reset where the dependency ended it
// before that, in order or not, while the application was still there. What the application ends before an answer says nothing, unless the dependency
// then ends it in order: of protocols in which the server never speaks, that is all that can be seen. For their sake a connection that has
// stood for the time of a probe is a success as well, or no probe of theirs would ever close a circuit.
//
// An answer ends the judgement. What happens to a connection later is the way of connections: pools close them, and servers restart.

/** What is known of the dependency after an event. Nothing: no more than before. Unknown: nothing, and nothing more will be. */
export const Verdict = { Nothing: 0, Success: 1, Reset: 2, Unknown: 3 } as const;

export class ConnectionResult {
  #judged = false;
  #applicationEnded = false;

  /** It has been judged. */
  get judged(): boolean {
    return this.#judged;
  }

  /** The dependency sent its first byte. */
  answered(): number {
    return this.#judge(Verdict.Success);
  }

  /** The application ended its side, and may still read. */
  applicationEnded(): number {
    this.#applicationEnded = true;
    return Verdict.Nothing;
  }

  /** The dependency ended its side, or the connection. `inOrder`: not by a reset. */
  dependencyEnded(inOrder: boolean): number {
    if (!this.#applicationEnded) return this.#judge(Verdict.Reset);
    return this.#judge(inOrder ? Verdict.Success : Verdict.Unknown);
  }

  /** The time of a probe is over, and the connection stands. */
  stood(): number {
    return this.#judge(Verdict.Success);
  }

  /** The application has gone, or the sidecar ended the connection. */
  dropped(): number {
    return this.#judge(Verdict.Unknown);
  }

  /** Each connection is judged once. */
  #judge(verdict: number): number {
    if (this.#judged) return Verdict.Nothing;
    this.#judged = true;
    return verdict;
  }
}
