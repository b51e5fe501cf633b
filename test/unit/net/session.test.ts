/** Sessions over streams in memory: no host, no socket. */
import type { Connection, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { streamPair } from '@libp2p/utils'
import { Type } from 'typebox'
import { afterEach, describe, expect, it } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { silentMeter } from '../../../src/base/meter.ts'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { bind, unary } from '../../../src/net/method.ts'
import { createRpc, type RpcHost } from '../../../src/net/rpc.ts'
import { clock, gate, until } from './nets.ts'

const Num = Type.Object({ n: Type.Number() })
const echo = unary({ name: 'test.echo', request: Num, response: Num })
const hang = unary({ name: 'test.hang', request: Num, response: Num })

interface Side {
  peer: string
  rpc: RpcHost
  opened: Stream[]
}

const open: RpcHost[] = []
afterEach(() => {
  for (const rpc of open.splice(0)) rpc.close()
})

/** Two RPC hosts; a stream that one opens arrives at the other when `arrive` says so. */
const createSides = (arrive: () => Promise<void> = async () => {}): [Side, Side] => {
  const peers = [createNodeKey().peer, createNodeKey().peer].toSorted() as [string, string]
  const connectionTo = (peer: string) =>
    ({ remotePeer: peerIdFromString(peer), abort: () => {} }) as unknown as Connection
  const sides = peers.map((self, index): Side => {
    const opened: Stream[] = []
    const other = peers[1 - index]!
    const openStream = async () => {
      const [outbound, inbound] = await streamPair()
      opened.push(outbound)
      await arrive()
      sides[1 - index]!.rpc.accept(inbound, connectionTo(self))
      return { stream: outbound, connection: connectionTo(other) }
    }
    const deps = {
      self,
      limits,
      clock,
      log: silentLog,
      meter: silentMeter,
      openStream,
      standingOf: () => ({ kind: 'member', role: 'admin' }) as const,
    }
    const rpc = createRpc(deps)
    open.push(rpc)
    return { peer: self, rpc, opened }
  }) as [Side, Side]
  for (const { rpc } of sides) rpc.register([bind(echo, (request) => request)])
  return sides
}

describe('a session', () => {
  it('is shared by all calls of both sides', async () => {
    const [a, b] = createSides()
    await Promise.all(Array.from({ length: 50 }, (_, n) => a.rpc.call(b.peer, echo, { n })))
    await Promise.all(Array.from({ length: 50 }, (_, n) => b.rpc.call(a.peer, echo, { n })))
    expect([a.opened.length, b.opened.length]).toEqual([1, 0])
  })

  it('opened by both at once is settled in favour of the lower PeerId, and no call is lost', async () => {
    const both = gate()
    let opening = 0
    const [a, b] = createSides(() => {
      if (++opening === 2) both.open()
      return both.opened
    })
    let settled = false
    let answered = 0
    const keepCalling = async (from: Side, to: Side) => {
      for (let n = 0; !settled || n < 50; n++) {
        expect(await from.rpc.call(to.peer, echo, { n })).toEqual({ n })
        answered++
        await new Promise((resolve) => setImmediate(resolve)) // streams in memory would leave the timers no turn
      }
    }
    const calling = Promise.all([a, a, b, b].map((side) => keepCalling(side, side === a ? b : a)))
    await until(() => b.opened[0]?.status !== 'open' && answered > 0)
    settled = true
    await calling
    expect([a.opened.length, b.opened.length]).toEqual([1, 1])
    expect([a.opened[0]!.status, b.opened[0]!.writeStatus]).toEqual(['open', 'closed'])
  })

  it('that is lost is opened anew for the next call', async () => {
    const [a, b] = createSides()
    await a.rpc.call(b.peer, echo, { n: 1 })
    a.opened[0]!.abort(new Error('cut'))
    await until(() => a.opened[0]!.status !== 'open')
    expect(await a.rpc.call(b.peer, echo, { n: 2 })).toEqual({ n: 2 })
    expect(a.opened.length).toBe(2)
  })

  it('whose stream ends before a request left fails the call as unreachable, after as lost', async () => {
    const [a, b] = createSides()
    await a.rpc.call(b.peer, echo, { n: 1 })
    const unsent = a.rpc.call(b.peer, echo, { n: 2 })
    a.opened[0]!.abort(new Error('cut'))
    await expect(unsent).rejects.toMatchObject({ code: 'PEER_UNREACHABLE' })
    await a.rpc.call(b.peer, echo, { n: 3 })
    b.rpc.register([bind(hang, () => new Promise<never>(() => {}))])
    const sent = a.rpc.call(b.peer, hang, { n: 4 })
    setImmediate(() => a.opened[1]!.abort(new Error('cut')))
    await expect(sent).rejects.toMatchObject({ code: 'STREAM_LOST' })
  })
})
