import { createHash, randomBytes } from 'node:crypto'
import { afterEach, describe, expect, it } from 'vitest'
import { GodelError } from '../../../src/base/errors.ts'
import { connect, createTestNets, gate, until } from './nets.ts'

const nets = createTestNets()
afterEach(() => nets.close())

const code = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'resolved',
    (error: GodelError) => error.code,
  )

async function* pieces(bytes: Uint8Array, size: number) {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const nothing = async function* (): AsyncGenerator<Uint8Array> {}

describe('a bulk transfer', () => {
  it.each([1_000, 65_536, 1_000_000])('in pieces of %i arrives whole, with its header and the answer', async (size) => {
    const [a, b] = await nets.pair()
    const bytes = randomBytes(5_000_000)
    b.bulk.handle('file', async (peer, header, source) => {
      const hash = createHash('sha256')
      for await (const piece of source) hash.update(piece)
      return { peer, header, hash: hash.digest('hex') }
    })
    expect(await a.bulk.send(b.peer, 'file', { name: 'x' }, pieces(bytes, size))).toEqual({
      peer: a.peer,
      header: { name: 'x' },
      hash: createHash('sha256').update(bytes).digest('hex'),
    })
  })

  it('holds its source back while the receiver does not read, and loses nothing', async () => {
    const [a, b] = await nets.pair()
    const go = gate()
    b.bulk.handle('slow', async (_peer, _header, source) => {
      await go.opened
      let total = 0
      for await (const piece of source) total += piece.byteLength
      return total
    })
    let made = 0
    const source = (async function* () {
      for (; made < 1_000; made++) yield Buffer.alloc(65_536)
    })()
    const sending = a.bulk.send(b.peer, 'slow', null, source)
    let before = -1
    await until(() => {
      const still = made === before && made > 0
      before = made
      return still
    })
    // Receive buffer, window and the sockets' own: far from the 64 MiB of the whole.
    expect(made * 65_536).toBeLessThan(32 * 1024 * 1024)
    go.open()
    expect(await sending).toBe(65_536_000)
  })

  it('to a reader that is slower than the wire arrives whole', async () => {
    const [a, b] = await nets.pair()
    b.bulk.handle('slow', async (_peer, _header, source) => {
      const hash = createHash('sha256')
      for await (const piece of source) {
        hash.update(piece)
        for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
      }
      return hash.digest('hex')
    })
    const bytes = randomBytes(800 * 65_536)
    const answer = createHash('sha256').update(bytes).digest('hex')
    expect(await a.bulk.send(b.peer, 'slow', null, pieces(bytes, 65_536))).toBe(answer)
  })

  it('delivers what its source gave before it pauses', async () => {
    const [a, b] = await nets.pair()
    const arrived = gate()
    b.bulk.handle('drops', async (_peer, _header, source) => {
      const drops: number[] = []
      for await (const piece of source) {
        drops.push(...piece)
        if (drops.length === 3) arrived.open()
      }
      return drops
    })
    const source = (async function* () {
      yield Buffer.from([1])
      yield Buffer.from([2, 3])
      await arrived.opened
      yield Buffer.from([4])
    })()
    expect(await a.bulk.send(b.peer, 'drops', null, source)).toEqual([1, 2, 3, 4])
  })

  it('is ended by a refusal before the source is at its end', async () => {
    const [a, b] = await nets.pair()
    b.bulk.handle('no', async () => {
      throw new GodelError({ code: 'AT_CAPACITY', node: 'b', running: 1, capacity: 1 })
    })
    let returned = false
    const endless = (async function* () {
      try {
        for (;;) yield Buffer.alloc(65_536)
      } finally {
        returned = true
      }
    })()
    expect(await code(a.bulk.send(b.peer, 'no', null, endless))).toBe('AT_CAPACITY')
    await until(() => returned)
    expect(await code(a.bulk.send(b.peer, 'unheard', null, nothing()))).toBe('UNSUPPORTED')
  })

  it('of a stranger is refused, to nobody is unreachable, with a large header is not sent', async () => {
    const [a, b] = [await nets.start(), await nets.start()]
    b.bulk.handle('file', async () => null)
    expect(await code(a.bulk.send(b.peer, 'file', null, nothing()))).toBe('PEER_UNREACHABLE')
    await connect(a, b)
    expect(['STREAM_LOST', 'PEER_UNREACHABLE']).toContain(await code(a.bulk.send(b.peer, 'file', null, nothing())))
    b.admit(a.peer, { kind: 'member', role: 'admin' })
    expect(await code(a.bulk.send(b.peer, 'file', 'x'.repeat(20_000), nothing()))).toBe('TOO_LARGE')
  })

  it('is cancelled by its signal, on both sides', async () => {
    const [a, b] = await nets.pair()
    const [started, aborted] = [gate(), gate()]
    let seen = ''
    b.bulk.handle('file', async (_peer, _header, source, signal) => {
      signal.addEventListener('abort', aborted.open)
      started.open()
      seen = await code(
        (async () => {
          for await (const _piece of source);
        })(),
      )
      return null
    })
    const controller = new AbortController()
    const waiting = (async function* () {
      yield Buffer.alloc(10)
      await new Promise(() => {})
    })()
    const sending = code(a.bulk.send(b.peer, 'file', null, waiting, { signal: controller.signal }))
    await started.opened
    controller.abort()
    expect(await sending).toBe('CANCELLED')
    await aborted.opened
    await until(() => seen === 'STREAM_LOST')
  })

  it('on which nothing moves is given up, and what the source throws is thrown', async () => {
    const [a, b] = await nets.pair({ bulkIdleTimeoutMs: 200 })
    b.bulk.handle('file', async (_peer, _header, source) => {
      for await (const _piece of source);
      return null
    })
    const stuck = (async function* () {
      yield Buffer.alloc(10)
      await new Promise(() => {})
    })()
    expect(await code(a.bulk.send(b.peer, 'file', null, stuck))).toBe('STREAM_LOST')
    // eslint-disable-next-line require-yield
    const broken = (async function* (): AsyncGenerator<Uint8Array> {
      throw new Error('disk')
    })()
    await expect(a.bulk.send(b.peer, 'file', null, broken)).rejects.toThrow('disk')
  })

  it('fails as lost when the connection goes', async () => {
    const [a, b] = await nets.pair()
    const started = gate()
    b.bulk.handle('file', async (_peer, _header, source) => {
      started.open()
      for await (const _piece of source);
      return null
    })
    const endless = (async function* () {
      for (;;) {
        yield Buffer.alloc(1_000)
        await new Promise((resolve) => setTimeout(resolve, 1))
      }
    })()
    const sending = code(a.bulk.send(b.peer, 'file', null, endless))
    await started.opened
    b.expel(a.peer)
    expect(await sending).toBe('STREAM_LOST')
  })
})
