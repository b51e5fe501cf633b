/**
 * Machines of a test: network namespaces on one switch, where a cable can be pulled without either end being told. Nothing
 * arrives any more and nothing is refused, which no signal to a process and no closed socket can imitate.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const run = promisify(execFile)
const ip = async (...args: string[]): Promise<void> => void (await run('ip', args))

export interface Machine {
  readonly name: string
  /** Its address on the switch. */
  readonly address: string
  /** What to put before a command so that it runs on this machine. */
  readonly prefix: readonly string[]
  /** Pulls the cable: whatever is sent is lost, in both directions. */
  cut(): Promise<void>
  /** Pulls the cable and plugs it into a second switch: those that are there reach each other and nobody else. */
  part(): Promise<void>
  /** Puts it back in. */
  mend(): Promise<void>
  /** From now on nobody on the switch can open a connection to it, as behind a NAT; what it opens goes on. */
  shut(): Promise<void>
  /** Takes its address away and gives it another one. */
  moveTo(address: string): Promise<void>
}

/** Where every machine finds the test itself, a server of it for example, over a cable that is never pulled. */
const testAddress = '198.19.255.1'

/** For `test.skipIf`: true, and a line on standard error, where no namespaces can be made. */
export const withoutNamespaces = async (what: string): Promise<boolean> => {
  const name = `godel-probe-${process.pid}`
  try {
    await ip('netns', 'add', name)
    await ip('netns', 'exec', name, 'ip', 'link', 'set', 'lo', 'up')
    return false
  } catch (error) {
    const reason = (error as { stderr?: string }).stderr?.trim() || String(error)
    process.stderr.write(`NOT RUN: ${what}: network namespaces need root and iproute2 (${reason})\n`)
    return true
  } finally {
    await ip('netns', 'del', name).catch(() => {})
  }
}

/** For `test.skipIf`: true, and a line on standard error, where no packet filter can be set up in a namespace. */
export const withoutFilter = async (what: string): Promise<boolean> => {
  if (await withoutNamespaces(what)) return true
  const name = `godel-filter-${process.pid}`
  try {
    await ip('netns', 'add', name)
    await shutOff(name)
    return false
  } catch (error) {
    const reason = (error as { stderr?: string }).stderr?.trim() || String(error)
    process.stderr.write(`NOT RUN: ${what}: a NAT needs nftables (${reason})\n`)
    return true
  } finally {
    await ip('netns', 'del', name).catch(() => {})
  }
}

/** Drops every first packet of a connection that comes from the switch. */
const shutOff = async (namespace: string): Promise<void> => {
  const rules = [
    'add table inet godel',
    'add chain inet godel in { type filter hook input priority 0; }',
    'add rule inet godel in iifname "mesh" tcp flags & (syn|ack) == syn drop',
  ]
  await ip('netns', 'exec', namespace, 'nft', rules.join('; '))
}

/** A switch with a machine for each name; `dispose` removes all of it, once nothing runs there any more. */
export const createMachines = async (names: readonly string[]) => {
  // A namespace of its own for the switch: the packet filter of the host has no say there.
  const hub = `gdl${process.pid}`
  const made: string[] = []
  const links: string[] = []
  const inHub = (...args: string[]) => ip('-n', hub, ...args)

  const namespace = async (name: string): Promise<void> => {
    await ip('netns', 'add', name)
    made.push(name)
    await ip('-n', name, 'link', 'set', 'lo', 'up')
  }

  const dispose = async (): Promise<void> => {
    // A namespace lives as long as its last process does; the cables to the test are not to wait for that.
    for (const name of links.splice(0)) await ip('link', 'del', name)
    await ip('addr', 'del', `${testAddress}/32`, 'dev', 'lo').catch(() => {})
    for (const name of made.splice(0)) await ip('netns', 'del', name)
  }

  const machine = async (name: string, index: number): Promise<Machine> => {
    const own = `${hub}-${index}`
    const port = `p${index}`
    let address = `198.18.0.${index + 1}`
    const net = `198.19.${index}`
    await namespace(own)
    await ip('link', 'add', 'mesh', 'netns', own, 'type', 'veth', 'peer', 'name', port, 'netns', hub)
    await ip('-n', own, 'addr', 'add', `${address}/24`, 'dev', 'mesh')
    await ip('-n', own, 'link', 'set', 'mesh', 'up')
    await inHub('link', 'set', port, 'master', 'switch', 'up')
    await ip('link', 'add', 'test', 'netns', own, 'type', 'veth', 'peer', 'name', own)
    links.push(own)
    await ip('-n', own, 'addr', 'add', `${net}.2/24`, 'dev', 'test')
    await ip('-n', own, 'link', 'set', 'test', 'up')
    await ip('addr', 'add', `${net}.1/24`, 'dev', own)
    await ip('link', 'set', own, 'up')
    await ip('-n', own, 'route', 'add', testAddress, 'via', `${net}.1`)
    return {
      name,
      get address() {
        return address
      },
      prefix: ['ip', 'netns', 'exec', own],
      // Taken off the switch, its own end stays up: the kernel of the machine sees nothing of the cut.
      cut: () => inHub('link', 'set', port, 'nomaster'),
      part: () => inHub('link', 'set', port, 'master', 'apart'),
      mend: () => inHub('link', 'set', port, 'master', 'switch'),
      shut: () => shutOff(own),
      async moveTo(next) {
        await ip('-n', own, 'addr', 'del', `${address}/24`, 'dev', 'mesh')
        await ip('-n', own, 'addr', 'add', `${next}/24`, 'dev', 'mesh')
        address = next
      },
    }
  }

  try {
    await namespace(hub)
    for (const name of ['switch', 'apart']) {
      await inHub('link', 'add', name, 'type', 'bridge')
      await inHub('link', 'set', name, 'up')
    }
    await ip('addr', 'replace', `${testAddress}/32`, 'dev', 'lo')
    const machines: Machine[] = []
    for (const [index, name] of names.entries()) machines.push(await machine(name, index))
    return { machines, testAddress, dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}
