/**
 * A slow line in user space, for kernels without netem: takes the connections that are redirected to it and carries each to
 * the port behind it, both ways, each piece as much later as it is told. Run inside a host of the test-bed; the port behind
 * comes as a line on standard input, and connections wait for it.
 *
 *   delay-proxy.ts ADDRESS PORT DELAY_MS JITTER_MS SEED
 */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { randomFrom } from '../prove/random.ts'

const [address, port, delayText, jitterText, seed] = process.argv.slice(2) as [string, string, string, string, string]
const [delayMs, jitterMs] = [Number(delayText), Number(jitterText)]
const queuedBytesMax = 4 * 1024 * 1024
const random = randomFrom(Number(seed))

const target = Promise.withResolvers<number>()
createInterface({ input: process.stdin }).on('line', (line) => target.resolve(Number(line)))
process.stdin.on('end', () => process.exit(0))

/** One direction. Jitter moves a piece, never before the one that went ahead of it: a stream keeps its order. */
const carry = (from: Socket, to: Socket): void => {
  const queue: { atMs: number; deliver: () => void }[] = []
  let queuedBytes = 0
  // One timer for the first of the queue: those of Node are a millisecond exact and may fire out of order.
  const work = (): void => {
    while (queue.length > 0 && queue[0]!.atMs <= performance.now()) queue.shift()!.deliver()
    if (queue.length > 0) setTimeout(work, Math.max(1, queue[0]!.atMs - performance.now()))
  }
  const later = (deliver: () => void): void => {
    const atMs = Math.max(queue.at(-1)?.atMs ?? 0, performance.now() + delayMs + jitterMs * random())
    queue.push({ atMs, deliver })
    if (queue.length === 1) setTimeout(work, Math.max(1, atMs - performance.now()))
  }
  from.on('data', (bytes: Buffer) => {
    queuedBytes += bytes.length
    if (queuedBytes > queuedBytesMax) from.pause()
    later(() => {
      queuedBytes -= bytes.length
      if (!to.destroyed) to.write(bytes)
      if (queuedBytes <= queuedBytesMax) from.resume()
    })
  })
  from.on('end', () => later(() => to.end()))
  from.on('error', () => {})
  from.on('close', (failed) => failed && later(() => to.destroy()))
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (outside) => {
  outside.pause()
  outside.on('error', () => {})
  void target.promise.then((behind) => {
    const inside = connect({ host: address, port: behind, allowHalfOpen: true, noDelay: true })
    carry(outside, inside)
    carry(inside, outside)
    inside.on('close', (failed) => failed && outside.destroy())
    outside.resume()
  })
})
server.listen(Number(port), address)
await once(server, 'listening')
process.stdout.write('listening\n')
