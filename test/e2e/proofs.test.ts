/** The small variants of the proofs that `npm run prove` runs at length: real processes, hosts of their own where they can be had. */
import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { broken, type Outcome, type Proof } from '../../scripts/prove/proof.ts'
import { proof as churn } from '../../scripts/prove/churn.ts'
import { proof as crash } from '../../scripts/prove/crash.ts'
import { proof as partition } from '../../scripts/prove/partition.ts'
import { randomFrom } from '../../scripts/prove/random.ts'
import { proof as reconnect } from '../../scripts/prove/reconnect.ts'
import { sectionOf, withSection } from '../../scripts/prove/report.ts'
import { withoutNamespaces } from '../support/namespaces.ts'

const isOff = await withoutNamespaces('partitions of hosts')

const tried = async (proof: Proof): Promise<Outcome> => {
  const seed = Math.floor(Math.random() * 2 ** 31)
  process.stderr.write(`seed ${seed}\n`)
  return proof.run({ quick: true, seed, random: randomFrom(seed), say: (line) => process.stderr.write(`${line}\n`) })
}

test('views are equal again after a third of a realm was replaced', async () => {
  const outcome = await tried(churn)
  expect(broken(outcome)).toEqual([])
  expect(outcome.notRun).toEqual([])
}, 120_000)

test('a node that was killed is known to be gone, and is seen again once it is back', async () => {
  expect(broken(await tried(crash))).toEqual([])
}, 90_000)

test.skipIf(isOff)(
  'views are equal within a sync interval of the end of a partition',
  async () => {
    expect(broken(await tried(partition))).toEqual([])
  },
  120_000,
)

test.skipIf(isOff)(
  'a node that was cut off and started anew meanwhile is found again without a person',
  async () => {
    expect(broken(await tried(reconnect))).toEqual([])
  },
  120_000,
)

test('a slow line carries everything in order, and no sooner than it is told', async () => {
  const address = '127.0.0.1'
  const echo = createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket)).listen(0, address)
  await once(echo, 'listening')
  const free = createServer().listen(0, address)
  await once(free, 'listening')
  const { port } = free.address() as AddressInfo
  await new Promise((resolve) => free.close(resolve))
  const proxy = fileURLToPath(new URL('../../scripts/testbed/delay-proxy.ts', import.meta.url))
  const line = spawn(process.execPath, [proxy, address, String(port), '20', '10', '1'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  try {
    await once(line.stdout, 'data')
    line.stdin.write(`${(echo.address() as AddressInfo).port}\n`)
    const socket = connect({ host: address, port })
    const [sent, received] = [createHash('sha256'), createHash('sha256')]
    const fromMs = performance.now()
    let firstMs = Infinity
    socket.on('data', (bytes) => {
      firstMs = Math.min(firstMs, performance.now() - fromMs)
      received.update(bytes)
    })
    for (let part = 1; part <= 200; part++) {
      const bytes = randomBytes(part * 97)
      sent.update(bytes)
      if (!socket.write(bytes)) await once(socket, 'drain')
    }
    socket.end()
    await once(socket, 'close')
    expect(received.digest('hex')).toBe(sent.digest('hex'))
    expect(firstMs).toBeGreaterThanOrEqual(40)
  } finally {
    line.stdin.end()
    echo.close()
    await once(line, 'exit')
  }
}, 30_000)

test('the last result of a proof takes the place of the one before it and of nothing else', () => {
  const about = { date: '2026-01-02', machine: 'm', versions: 'v', seed: 1, tookS: 2, busy: 0.5 }
  const outcomeOf = (value: number): Outcome => ({
    ran: 'something',
    notRun: ['loss'],
    figures: [{ what: 'a time', unit: 'ms', values: [value], bound: 10 }],
  })
  const section = (value: number) => sectionOf('crash', crash, outcomeOf(value), about)
  const first = withSection(withSection('# Proofs\n', 'crash', section(5)), 'churn', 'another')
  const second = withSection(first, 'crash', section(11))
  expect(first).toContain('**Held in part.**')
  expect(second).toContain('Did not hold: a time.')
  expect(second).toContain('Not run: loss.')
  expect(second).not.toContain('5 ms')
  expect(second).toMatch(/^# Proofs\n[^]*11 ms[^]*another/)
})
