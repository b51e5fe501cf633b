/** A slow line between two processes: a TCP proxy that delays every piece, both ways, with jitter, and never reorders. */
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net'

export interface SlowProxy {
  readonly port: number
  /** Delays from now on, in milliseconds each way; what is on its way keeps its own. */
  setDelay(delayMs: number, jitterMs?: number): void
  /** Nothing passes any more in one direction (from the dialler, or to it), and nobody is told. */
  mute(direction: 'forth' | 'back', isMute: boolean): void
  /** Closes every connection that goes through it. */
  reset(): void
  close(): void
}

/** Listens on every address and passes on to a port of `host`. `random` gives the jitter; the same numbers give the same line. */
export const startSlowProxy = async (
  targetPort: number,
  { host = '127.0.0.1', random = Math.random }: { host?: string; random?: () => number } = {},
): Promise<SlowProxy> => {
  let [delay, jitter] = [0, 0]
  const muted = { forth: false, back: false }
  const sockets = new Set<Socket>()

  /** Each piece comes out after its delay and never before the one in front of it. */
  const pass = (from: Socket, to: Socket, direction: 'forth' | 'back'): void => {
    let lastAtMs = 0
    const later = (act: () => void): void => {
      const atMs = Math.max(lastAtMs, performance.now() + delay + jitter * random())
      lastAtMs = atMs
      setTimeout(act, Math.max(0, atMs - performance.now()))
    }
    from.on('data', (piece) => later(() => !muted[direction] && !to.destroyed && to.write(piece)))
    from.on('end', () => later(() => to.end()))
    from.on('error', () => to.destroy())
    from.on('close', () => later(() => to.destroy()))
  }

  const server = createServer((near) => {
    const far = createConnection({ host, port: targetPort })
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.setNoDelay(true)
      socket.on('close', () => sockets.delete(socket))
    }
    pass(near, far, 'forth')
    pass(far, near, 'back')
  })
  await new Promise<void>((resolve) => server.listen(0, resolve))
  const reset = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: (server.address() as AddressInfo).port,
    setDelay(nextDelayMs, nextJitterMs = 0) {
      ;[delay, jitter] = [nextDelayMs, nextJitterMs]
    },
    mute(direction, isMute) {
      muted[direction] = isMute
    },
    reset,
    close() {
      server.close()
      reset()
    },
  }
}
