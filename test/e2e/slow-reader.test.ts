/** Output without end and a reader without haste: the command waits, and no node on the way grows. */
import { afterAll, expect, test } from 'vitest'
import { createTestBed, openCli, residentMiB, type TestNode } from '../support/nodes.ts'

const bed = createTestBed()
afterAll(bed.dispose, 30_000)

const OUTPUT_BYTES = 200 * 1024 * 1024
const GROWTH_MIB = 80

test('200 MB through a slow reader keep the memory of all three nodes flat', async () => {
  const nodes = await bed.realm([{ name: 'caller' }, { name: 'bystander' }, { name: 'host' }])
  const [caller] = nodes as [TestNode, TestNode, TestNode]
  const agent = await caller.json(['agent', 'spawn', '--node', 'host'])
  const run = (bytes: number) =>
    openCli(['agent', 'exec', agent.id, '--data-dir', caller.dataDir, '--', 'head', '-c', String(bytes), '/dev/zero'])

  // A first run brings every buffer and compiled function into being, so that growth is growth.
  for await (const _ of run(OUTPUT_BYTES / 10).stdout!);
  const before = await Promise.all(nodes.map((node) => residentMiB(node.pid)))
  const peak = [...before]
  let received = 0
  let sampledAt = 0
  for await (const part of run(OUTPUT_BYTES).stdout!) {
    received += (part as Buffer).byteLength
    if (received - sampledAt < 4 * 1024 * 1024) continue
    // Reading stands still while memory is read, which is what makes this reader slow.
    sampledAt = received
    for (const [index, node] of nodes.entries()) {
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
      peak[index] = Math.max(peak[index]!, await residentMiB(node.pid))
    }
  }
  expect(received).toBe(OUTPUT_BYTES)
  for (const [index, node] of nodes.entries())
    expect(peak[index]! - before[index]!, `growth of ${node.name} in MiB`).toBeLessThan(GROWTH_MIB)
}, 180_000)

test('a reader that goes away ends the command', async () => {
  const [node] = await bed.realm([{ name: 'alone' }])
  const agent = await node!.json(['agent', 'spawn'])
  const exec = openCli([
    'agent',
    'exec',
    agent.id,
    '--data-dir',
    node!.dataDir,
    '--',
    'sh',
    '-c',
    'echo up; exec sleep 986',
  ])
  for await (const part of exec.stdout!) {
    expect(String(part)).toBe('up\n')
    break
  }
  exec.kill('SIGKILL')
  const { waitFor } = await import('../support/wait.ts')
  const { processesWith } = await import('../support/processes.ts')
  await waitFor('the command has ended', () => processesWith('sleep\x00986').length === 0)
  expect((await node!.json(['agent', 'show', agent.id])).status).toBe('idle')
}, 60_000)
