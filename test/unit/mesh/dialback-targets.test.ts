/** Whom a node dials because it was asked to: nobody but the one who asks, where that one is and says that it is. */
import { afterEach, expect, test } from 'vitest'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import type { CallContext } from '../../../src/net/method.ts'
import type { ConnectionKind, Net } from '../../../src/net/net.ts'
import { startReachability, type Reachability } from '../../../src/mesh/reachability.ts'
import type { MeshView } from '../../../src/mesh/view.ts'
import { createFakeClock } from '../../fakes/clock.ts'

const running: Reachability[] = []
afterEach(() => running.splice(0).forEach((each) => each.close()))

const inbound: ConnectionKind = { kind: 'direct', isDialled: false, dialledUs: true }
const asked = async ({
  addresses,
  ip = '203.0.113.7',
  kind = inbound,
}: {
  addresses: string[] | undefined
  /** Null where it is connected through a relay alone. */
  ip?: string | null
  kind?: ConnectionKind
}) => {
  const dialled: string[] = []
  const net = {
    addresses: () => [],
    connectionKind: () => kind,
    observedIp: () => ip ?? undefined,
    probe: (them: readonly string[]) => (dialled.push(...them), Promise.resolve(true)),
  } as unknown as Net
  const view = { record: () => addresses && { ad: { addresses } } } as unknown as MeshView
  const reach = startReachability({
    ...{ net, view, onMoved: () => {}, clock: createFakeClock(), log: silentLog, limits, random: () => 0 },
  })
  running.push(reach)
  const [{ handle }] = reach.methods as [(typeof reach.methods)[0]]
  const answer = await handle({} as never, { peer: 'mallory' } as CallContext as never)
  return { answer, dialled }
}

test('the address that the caller advertises at the IP from which it is connected is dialled', async () => {
  const addresses = ['/ip4/203.0.113.7/tcp/7374', '/ip4/203.0.113.7/tcp/7375/ws']
  expect(await asked({ addresses })).toEqual({ answer: { reached: true }, dialled: addresses })
})

test.each([
  ['other hosts', ['/ip4/198.51.100.1/tcp/7374', '/ip4/203.0.113.70/tcp/22', '/ip6/2001:db8::1/tcp/1']],
  ['this host and the network behind it', ['/ip4/127.0.0.1/tcp/7373', '/ip4/10.0.0.1/tcp/80', '/ip6/::1/tcp/1']],
  ['where a cloud tells its secrets', ['/ip4/169.254.169.254/tcp/80']],
  ['names, which may lead anywhere', ['/dns4/203.0.113.7/tcp/1', '/dns4/internal.example.org/tcp/80']],
  ['others through a relay at its own IP', ['/ip4/203.0.113.7/tcp/1/p2p/12D3KooWx/p2p-circuit']],
])('an advertisement that names %s has nobody dialled', async (_what, addresses) => {
  expect(await asked({ addresses })).toEqual({ answer: { reached: false }, dialled: [] })
})

test('of an advertisement that names others too they are left out', async () => {
  const addresses = ['/ip4/127.0.0.1/tcp/7373', '/ip4/203.0.113.7/tcp/7374']
  expect((await asked({ addresses })).dialled).toEqual(['/ip4/203.0.113.7/tcp/7374'])
})

test.each([
  ['who is known by no advertisement', { addresses: undefined }],
  ['who is connected through a relay alone', { addresses: ['/dns4/host/tcp/1'], ip: null }],
])('one %s has nobody dialled', async (_what, caller) => {
  expect((await asked(caller)).dialled).toEqual([])
})

test('one that this node has dialled itself is answered without another dial', async () => {
  const kind: ConnectionKind = { kind: 'direct', isDialled: true, dialledUs: false }
  expect(await asked({ addresses: ['/ip4/203.0.113.7/tcp/1'], kind })).toEqual({
    answer: { reached: true },
    dialled: [],
  })
})
