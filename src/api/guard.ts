/**
 * Who may speak to the API. A page in a browser can send requests to loopback and, by rebinding its name, read the
 * answers: so the Host must be our own address with our own port, and an Origin, if there is one, our own page. The key
 * comes on top, on the Unix socket as well.
 */
import { hash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { GodelError } from '../base/errors.ts'

export interface GuardOptions {
  apiKey: string
  /** Known once the server listens. */
  port: () => number
  /** True for requests that came over the Unix socket, where there is no name to rebind. */
  viaSocket: (request: IncomingMessage) => boolean
}

const digest = (text: string): Buffer => hash('sha256', text, 'buffer')

const ownHosts = (port: number): string[] =>
  ['127.0.0.1', 'localhost', '[::1]'].flatMap((name) => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`]))

/** HOST_REFUSED for a request that names another host or page; UNAUTHENTICATED for one without the key, unless it is `open`. */
export const createGuard = ({ apiKey, port, viaSocket }: GuardOptions) => {
  const expectedKey = digest(apiKey)

  const checkAddress = (request: IncomingMessage): void => {
    const hosts = ownHosts(port())
    const { host, origin } = request.headers
    const refused = (header: string) =>
      new GodelError({ code: 'HOST_REFUSED', header, expected: `http://127.0.0.1:${port()}` })
    if (!viaSocket(request) && !hosts.includes(host?.toLowerCase() ?? '')) throw refused('host')
    if (origin !== undefined && !hosts.some((own) => origin.toLowerCase() === `http://${own}`)) throw refused('origin')
  }

  const checkKey = (request: IncomingMessage): void => {
    const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
    if (given === undefined) throw new GodelError({ code: 'UNAUTHENTICATED', reason: 'it has no API key' })
    // Digests have one length, so that the comparison says nothing about the length of the key either.
    if (!timingSafeEqual(digest(given), expectedKey))
      throw new GodelError({ code: 'UNAUTHENTICATED', reason: 'its API key is not the key of this node' })
  }

  return (request: IncomingMessage, { open }: { open: boolean }): void => {
    checkAddress(request)
    if (!open) checkKey(request)
  }
}
