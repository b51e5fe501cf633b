import { Type } from 'typebox'
import { afterEach, describe, expect, it } from 'vitest'
import { GodelError, type ErrorCode } from '../../../src/base/errors.ts'
import { Bytes } from '../../../src/base/schema.ts'
import { bind, streaming, unary } from '../../../src/net/method.ts'
import { clock, connect, createTestNets, gate, heldBytes, until } from './nets.ts'

const nets = createTestNets()
afterEach(() => nets.close())

const Num = Type.Object({ n: Type.Number() })
const echo = unary({ name: 'test.echo', request: Num, response: Num })
const open = unary({ name: 'test.open', access: 'anyone', request: Num, response: Num })
const items = streaming({ name: 'test.items', request: Num, response: Bytes(200_000), incoming: Num })

const code = async (work: Promise<unknown>): Promise<ErrorCode | 'resolved'> =>
  work.then(
    () => 'resolved' as const,
    (error: GodelError) => error.code,
  )

const never = () => new Promise<never>(() => {})

describe('calls', () => {
  it('are answered, many at once, in both directions over one stream', async () => {
    const [a, b] = await nets.pair()
    for (const net of [a, b]) net.rpc.register([bind(echo, async ({ n }) => ({ n: n + 1 }))])
    const both = Array.from({ length: 500 }, (_, n) => [
      a.rpc.call(b.peer, echo, { n }),
      b.rpc.call(a.peer, echo, { n }),
    ])
    expect(await Promise.all(both.flat())).toEqual(
      Array.from({ length: 500 }, (_, n) => [{ n: n + 1 }, { n: n + 1 }]).flat(),
    )
  })

  it('to the own node go through the same checks without a network', async () => {
    const a = await nets.start()
    a.rpc.register([
      bind(echo, ({ n }) => ({ n: n * 2 })),
      bind(items, async function* ({ n }, { incoming }) {
        for await (const item of incoming) yield Buffer.alloc(n + item.n)
      }),
    ])
    expect(await a.rpc.call(a.peer, echo, { n: 4 })).toEqual({ n: 8 })
    expect(await code(a.rpc.call(a.peer, echo, { n: 'x' } as never))).toBe('INVALID_MESSAGE')
    const outgoing = (async function* () {
      yield { n: 1 }
      yield { n: 2 }
    })()
    const sizes = []
    for await (const item of a.rpc.stream(a.peer, items, { n: 1 }, { outgoing })) sizes.push(item.byteLength)
    expect(sizes).toEqual([2, 3])
  })

  it('carry the errors of a handler with their fields, and its defects as INTERNAL', async () => {
    const [a, b] = await nets.pair()
    b.rpc.register([
      bind(echo, ({ n }) => {
        if (n === 1) throw new GodelError({ code: 'AT_CAPACITY', node: 'gpu', running: 8, capacity: 8 })
        throw new TypeError('a defect')
      }),
    ])
    await expect(a.rpc.call(b.peer, echo, { n: 1 })).rejects.toMatchObject({
      detail: { code: 'AT_CAPACITY', node: 'gpu', running: 8 },
    })
    expect(await code(a.rpc.call(b.peer, echo, { n: 2 }))).toBe('INTERNAL')
  })

  it('of a version that the callee does not have are told which it has', async () => {
    const [a, b] = await nets.pair()
    b.rpc.register([bind(echo, (request) => request)])
    const newer = { ...echo, version: 2 }
    await expect(a.rpc.call(b.peer, newer, { n: 1 })).rejects.toMatchObject({
      detail: { code: 'METHOD_UNKNOWN', method: 'test.echo v2 (it has v1)', peer: b.peer },
    })
  })

  it('of members are refused to a stranger, those of anyone are not', async () => {
    const [a, b] = [await nets.start(), await nets.start()]
    await connect(a, b)
    let asked = 0
    b.rpc.register([bind(echo, (request) => (asked++, request)), bind(open, (request) => request)])
    expect(await code(a.rpc.call(b.peer, echo, { n: 1 }))).toBe('NOT_A_MEMBER')
    expect(asked).toBe(0)
    expect(await a.rpc.call(b.peer, open, { n: 1 })).toEqual({ n: 1 })
  })

  it('with a request or an answer beyond its bound or its schema are refused', async () => {
    const [a, b] = await nets.pair()
    const small = unary({
      name: 'test.small',
      request: Type.Any(),
      response: Type.Any(),
      requestBytesMax: 100,
      responseBytesMax: 100,
    })
    b.rpc.register([
      bind({ ...small, responseBytesMax: 10_000 }, () => 'x'.repeat(5_000)),
      bind(echo, () => 'no number' as never),
    ])
    expect(await code(a.rpc.call(b.peer, small, 'x'.repeat(200)))).toBe('TOO_LARGE')
    expect(await code(a.rpc.call(b.peer, { ...small, requestBytesMax: 9_999 }, 'x'.repeat(200)))).toBe('TOO_LARGE')
    expect(await code(a.rpc.call(b.peer, echo, { n: 1 }))).toBe('INVALID_MESSAGE')
    expect(await code(a.rpc.call(b.peer, echo, 'text' as never))).toBe('INVALID_MESSAGE')
  })

  it('end at their deadline on both sides', async () => {
    const [a, b] = await nets.pair()
    const aborted = gate()
    b.rpc.register([
      bind(echo, (_request, { signal }) => {
        signal.addEventListener('abort', aborted.open)
        return never()
      }),
    ])
    await expect(a.rpc.call(b.peer, echo, { n: 1 }, { timeoutMs: 50 })).rejects.toMatchObject({
      detail: { code: 'DEADLINE_EXCEEDED', what: 'test.echo', afterMs: 50 },
    })
    await aborted.opened
  })

  it('that the caller cancels abort the handler', async () => {
    const [a, b] = await nets.pair()
    const [started, aborted] = [gate(), gate()]
    b.rpc.register([
      bind(echo, (_request, { signal }) => {
        signal.addEventListener('abort', aborted.open)
        started.open()
        return never()
      }),
    ])
    const controller = new AbortController()
    const call = code(a.rpc.call(b.peer, echo, { n: 1 }, { signal: controller.signal }))
    await started.opened
    controller.abort()
    expect(await call).toBe('CANCELLED')
    await aborted.opened
  })

  it('beyond the number allowed at once are refused, cancelled ones that still run included', async () => {
    const [a, b] = await nets.pair({}, { rpcCallsPerPeerMax: 3 })
    let running = 0
    b.rpc.register([bind(echo, () => (running++, never()))])
    const controllers = [1, 2, 3].map(() => new AbortController())
    for (const { signal } of controllers) void code(a.rpc.call(b.peer, echo, { n: 1 }, { signal }))
    await until(() => running === 3)
    for (const controller of controllers) controller.abort()
    expect(await code(a.rpc.call(b.peer, echo, { n: 1 }))).toBe('QUEUE_FULL')
  })

  it('to a peer that is not connected fail as unreachable', async () => {
    const [a, b] = [await nets.start(), await nets.start()]
    expect(await code(a.rpc.call(b.peer, echo, { n: 1 }))).toBe('PEER_UNREACHABLE')
  })

  it('that wait when the connection goes fail at once as lost, and work again after a new connection', async () => {
    const [a, b] = await nets.pair()
    const started = gate()
    let block = true
    b.rpc.register([bind(echo, (request) => (started.open(), block ? never() : request))])
    const call = code(a.rpc.call(b.peer, echo, { n: 1 }, { timeoutMs: 60_000 }))
    await started.opened
    b.expel(a.peer)
    expect(await call).toBe('STREAM_LOST')
    block = false
    await until(() => !a.isConnected(b.peer) && !b.isConnected(a.peer))
    await connect(a, b)
    b.admit(a.peer, { kind: 'member', role: 'admin' })
    expect(await a.rpc.call(b.peer, echo, { n: 7 })).toEqual({ n: 7 })
  })

  it('made by both sides at once before there is a session are all answered', async () => {
    for (let round = 0; round < 5; round++) {
      const [a, b] = await nets.pair()
      for (const net of [a, b]) net.rpc.register([bind(echo, (request) => request)])
      const calls = Array.from({ length: 20 }, (_, n) => [
        a.rpc.call(b.peer, echo, { n }),
        b.rpc.call(a.peer, echo, { n }),
      ])
      await Promise.all(calls.flat())
      for (let n = 0; n < 50; n++) {
        await Promise.all([a.rpc.call(b.peer, echo, { n }), b.rpc.call(a.peer, echo, { n })])
      }
    }
  })

  it('are refused once the node is closed', async () => {
    const [a, b] = await nets.pair()
    await a.close()
    expect(await code(a.rpc.call(b.peer, echo, { n: 1 }))).toBe('NODE_STOPPING')
  })
})

describe('streams', () => {
  it('deliver items in order and what the caller sends meanwhile', async () => {
    const [a, b] = await nets.pair()
    b.rpc.register([
      bind(items, async function* ({ n }, { incoming }) {
        for (let i = 0; i < n; i++) yield Buffer.from([i])
        for await (const item of incoming) yield Buffer.from([item.n])
      }),
    ])
    const outgoing = (async function* () {
      for (let n = 100; n < 110; n++) yield { n }
    })()
    const seen = []
    for await (const item of a.rpc.stream(b.peer, items, { n: 3 }, { outgoing })) seen.push(item[0])
    expect(seen).toEqual([0, 1, 2, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109])
  })

  it('hand out what arrived before an error, and then the error', async () => {
    const [a, b] = await nets.pair()
    b.rpc.register([
      bind(items, async function* () {
        yield Buffer.from([1])
        yield Buffer.from([2])
        throw new GodelError({ code: 'EXEC_NOT_FOUND', exec: 'ex_1' })
      }),
    ])
    const iterator = a.rpc.stream(b.peer, items, { n: 1 })[Symbol.asyncIterator]()
    expect((await iterator.next()).value).toEqual(Buffer.from([1]))
    expect((await iterator.next()).value).toEqual(Buffer.from([2]))
    expect(await code(iterator.next())).toBe('EXEC_NOT_FOUND')
    expect((await iterator.next()).done).toBe(true)
  })

  it('end the handler when the reader leaves the loop, also while it waits', async () => {
    const [a, b] = await nets.pair()
    let returned = 0
    b.rpc.register([
      bind(items, async function* ({ n }, { signal }) {
        try {
          yield Buffer.from([1])
          if (n === 0) await new Promise((resolve) => signal.addEventListener('abort', resolve))
          else for (;;) yield Buffer.from([1])
        } finally {
          returned++
        }
      }),
    ])
    for await (const _item of a.rpc.stream(b.peer, items, { n: 1 })) break
    await until(() => returned === 1)
    const iterator = a.rpc.stream(b.peer, items, { n: 0 })[Symbol.asyncIterator]()
    await iterator.next()
    const waiting = iterator.next()
    await iterator.return!()
    expect((await waiting).done).toBe(true)
    await until(() => returned === 2)
  })

  it('of a stalled reader hold up neither other calls nor memory', async () => {
    const [a, b] = await nets.pair()
    const made = new Map<number, number>()
    b.rpc.register([
      bind(items, async function* ({ n }) {
        for (let i = 0; i < 2_000; i++) {
          made.set(n, i)
          yield Buffer.alloc(50_000)
        }
      }),
      bind(echo, (request) => request),
    ])
    const stalled = a.rpc.stream(b.peer, items, { n: 1 })[Symbol.asyncIterator]()
    await stalled.next()
    let fast = 0
    for await (const _item of a.rpc.stream(b.peer, items, { n: 2 })) if (++fast === 500) break
    expect(await a.rpc.call(b.peer, echo, { n: 1 })).toEqual({ n: 1 })
    expect(made.get(2)).toBeGreaterThanOrEqual(499)
    // The window is 256 KiB: about six items of 50 kB, and the one that was read.
    expect(made.get(1)).toBeLessThan(10)
    await stalled.return!()
  })

  it('of 200 MB through a slow reader keep memory flat', async () => {
    const [a, b] = await nets.pair()
    const [size, count] = [100_000, 2_000]
    b.rpc.register([
      bind(items, async function* () {
        for (let i = 0; i < count; i++) yield Buffer.alloc(size)
      }),
    ])
    const before = heldBytes()
    let read = 0
    const samples: number[] = []
    for await (const item of a.rpc.stream(b.peer, items, { n: 1 })) {
      read += item.byteLength
      if (read % (50 * size) === 0) {
        await new Promise((resolve) => setTimeout(resolve, 2))
        samples.push(heldBytes() - before)
      }
    }
    expect(read).toBe(size * count)
    const [early, late] = [samples.slice(0, 20), samples.slice(20)].map((part) => Math.max(...part))
    expect(late).toBeLessThan(24 * 1024 * 1024)
    expect(late! - early!).toBeLessThan(4 * 1024 * 1024)
  }, 120_000) // against a standstill alone: how fast it goes is the machine's affair

  it('whose source fails are cancelled, and those to nobody fail as unreachable', async () => {
    const [a, b] = await nets.pair()
    const aborted = gate()
    b.rpc.register([
      bind(items, async function* (_request, { incoming, signal }) {
        signal.addEventListener('abort', aborted.open)
        for await (const _item of incoming) yield Buffer.from([1])
      }),
    ])
    // eslint-disable-next-line require-yield
    const outgoing = (async function* (): AsyncGenerator<{ n: number }> {
      throw new Error('disk')
    })()
    const iterator = a.rpc.stream(b.peer, items, { n: 1 }, { outgoing })[Symbol.asyncIterator]()
    expect(await code(iterator.next())).toBe('CANCELLED')
    await aborted.opened
    const nobody = a.rpc.stream((await nets.start()).peer, items, { n: 1 })[Symbol.asyncIterator]()
    expect(await code(nobody.next())).toBe('PEER_UNREACHABLE')
  })

  it('end at their deadline', async () => {
    const [a, b] = await nets.pair()
    b.rpc.register([
      bind(items, async function* () {
        yield Buffer.from([1])
        await never()
      }),
    ])
    const start = clock.monotonicMs()
    const iterator = a.rpc.stream(b.peer, items, { n: 1 }, { timeoutMs: 80 })[Symbol.asyncIterator]()
    await iterator.next()
    expect(await code(iterator.next())).toBe('DEADLINE_EXCEEDED')
    expect(clock.monotonicMs() - start).toBeGreaterThanOrEqual(79)
  })
})
