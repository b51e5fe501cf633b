/**
 * Dials back: whether a libp2p node answers at an address. No connection of libp2p is made, which streams might be opened on
 * in the moment before it is closed again; the greeting that every such node gives is enough.
 */
import { connect } from 'node:net'
import type { Clock } from '../base/clock.ts'
import type { Limits } from '../base/limits.ts'
import { isCircuit, isWebSocket } from './addresses.ts'

const greeting = Buffer.from('\x13/multistream/1.0.0\n')
/** A node that speaks WebSockets alone says how it wants to be asked. */
const webGreeting = Buffer.from('HTTP/1.1 ')
const webRequest = Buffer.from('GET / HTTP/1.0\r\n\r\n')

const answers = (address: string, { clock, timeoutMs }: { clock: Clock; timeoutMs: number }): Promise<boolean> => {
  const found = /^\/ip[46]\/([^/]+)\/tcp\/(\d+)/.exec(address)
  if (found === null || isCircuit(address)) return Promise.resolve(false)
  const [say, expected] = isWebSocket(address) ? [webRequest, webGreeting] : [greeting, greeting]
  return new Promise((resolve) => {
    const socket = connect({ host: found[1]!, port: Number(found[2]) })
    let heard = Buffer.alloc(0)
    const end = (reached: boolean) => {
      timer.cancel()
      socket.destroy()
      resolve(reached)
    }
    const timer = clock.after(timeoutMs, () => end(false))
    socket.on('error', () => end(false))
    socket.on('close', () => end(false))
    socket.on('connect', () => socket.write(say))
    socket.on('data', (part) => {
      heard = Buffer.concat([heard, part.subarray(0, expected.length)])
      if (heard.length >= expected.length) end(heard.subarray(0, expected.length).equals(expected))
    })
  })
}

/** True as soon as one answers. */
export const probe = async (
  addresses: readonly string[],
  { clock, limits }: { clock: Clock; limits: Pick<Limits, 'dialBackTimeoutMs' | 'dialBackAddressesMax'> },
): Promise<boolean> => {
  const options = { clock, timeoutMs: limits.dialBackTimeoutMs }
  const asked = addresses.slice(0, limits.dialBackAddressesMax).map((address) => answers(address, options))
  const first = asked.map((each) => each.then((reached) => (reached ? true : new Promise<never>(() => {}))))
  return Promise.race([...first, Promise.all(asked).then((all) => all.includes(true))])
}
