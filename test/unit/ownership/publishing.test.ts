/** Telling the homes, of which some are silent, some refuse, and some know better. */
import { beforeAll, expect, test } from 'vitest'
import { GodelError, type ErrorDetail } from '../../../src/base/errors.ts'
import { limits } from '../../../src/base/limits.ts'
import { silentLog } from '../../../src/base/log.ts'
import { startOwnership } from '../../../src/ownership/ownership.ts'
import { sealGrant } from '../../../src/ownership/records.ts'
import { openMemoryStore } from '../../../src/store/memory.ts'
import { createFakeClock } from '../../fakes/clock.ts'
import { agentWith, ID, REALM } from '../../support/agents.ts'
import { createSealer, type TestSealer } from '../../support/sealers.ts'

let self: TestSealer
beforeAll(async () => {
  self = await createSealer()
})

const stale: ErrorDetail = { code: 'STALE_EPOCH', agent: ID, epoch: 1, current: 2 }
const ended: ErrorDetail = { code: 'CONFLICT', what: 'it', reason: 'it has ended' }
const away: ErrorDetail = { code: 'PEER_UNREACHABLE', peer: 'x', reason: 'no route' }

/** Publishes to three homes that answer as told; `never` is a home that does not answer at all. */
const publishTo = async (answers: ('ok' | 'never' | ErrorDetail)[]): Promise<number> => {
  const homes = answers.map((_, index) => `12D3KooW${'ABC'[index]!.repeat(44)}`)
  const clock = createFakeClock()
  const ownership = await startOwnership({
    peer: self.peer,
    realm: () => REALM,
    guests: { get: () => undefined },
    guestsOf: () => [],
    rpc: {
      call: async (peer: string) => {
        const answer = answers[homes.indexOf(peer)]!
        if (answer === 'never') return new Promise(() => {})
        if (answer !== 'ok') throw new GodelError(answer)
        return { epoch: 1 }
      },
    },
    sealer: self,
    view: { alive: () => homes.map((peer) => ({ peer })), get: () => undefined },
    store: openMemoryStore(),
    clock,
    log: silentLog,
    limits,
  } as unknown as Parameters<typeof startOwnership>[0])
  const agent = agentWith({ host: self.peer, owner: self.peer })
  const grant = await sealGrant(self, ID, 1, self.peer)
  return ownership.publish({ agent, version: 1, mode: 'pinned' }, grant).finally(() => ownership.close())
}

test.each([
  [['ok', 'ok', 'ok'], 2],
  [['ok', 'never', 'ok'], 2],
  [['ok', away, away], 1],
  [[away, away, away], 0],
  [['ok', ended, 'ok'], 2],
] as const)('%j resolves with at least %i', async (answers, kept) => {
  expect(await publishTo([...answers])).toBeGreaterThanOrEqual(kept)
})

test.each([
  [['never', stale, 'never'], 'STALE_EPOCH'],
  [[ended, stale, 'ok'], 'STALE_EPOCH'],
  [[ended, ended, 'ok'], 'CONFLICT'],
  [[ended, away, 'ok'], 'CONFLICT'],
] as const)('%j is refused with %s', async (answers, code) => {
  await expect(publishTo([...answers])).rejects.toMatchObject({ code })
})
