/**
 * A realm on hosts of its own: real godel-node processes, each in a network namespace behind a line of stated quality, all on
 * one switch whose cables can be pulled. `dispose` ends the processes and takes everything down again.
 */
import { createMachines, withoutNamespaces, type Machine } from '../../test/support/namespaces.ts'
import { createTestBed, type TestNode } from '../../test/support/nodes.ts'
import { bringUpLine, type Line, type LineConditions } from './line.ts'

export interface Host {
  readonly name: string
  readonly machine: Machine
  node: TestNode
  /** Starts its node again where it was. */
  restart(): Promise<void>
}

export interface Hosts {
  readonly hosts: readonly Host[]
  /** What could not be had here, and why. */
  readonly notRun: readonly string[]
  dispose(): Promise<void>
}

/** Undefined, and a line on standard error, where no namespaces can be made. */
export const startHosts = async (
  what: string,
  names: readonly string[],
  conditions: LineConditions = {},
  seed = 1,
): Promise<Hosts | undefined> => {
  if (await withoutNamespaces(what)) return undefined
  const bed = createTestBed()
  const site = await createMachines(names)
  const lines: Line[] = []
  const dispose = async () => {
    for (const line of lines.splice(0)) await line.dispose()
    await bed.dispose()
    await site.dispose()
  }
  const listening = (line: Line | undefined, node: TestNode) => {
    const port = /\/tcp\/(\d+)/.exec(node.ready.listen[0] ?? '')?.[1]
    line?.nodeListensOn(Number(port))
  }
  try {
    for (const [index, machine] of site.machines.entries())
      lines.push(await bringUpLine(machine, conditions, seed + index))
    const hosts: Host[] = []
    let token: string | undefined
    for (const [index, machine] of site.machines.entries()) {
      const name = machine.name
      const node = await bed.start({ name, machine, ...(token !== undefined && { join: token }) })
      listening(lines[index], node)
      token ??= (await node.json(['realm', 'invite', '--uses', String(Math.max(1, names.length - 1))])).token
      const host: Host = {
        name,
        machine,
        node,
        async restart() {
          host.node = await host.node.restart()
        },
      }
      hosts.push(host)
    }
    const notRun = lines.flatMap((line) => line.notHad)
    for (const each of notRun) process.stderr.write(`NOT RUN: ${each}\n`)
    return { hosts, notRun, dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}
