/** A git server that holds every request until it is told to answer; the answer is an empty repository's. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface SlowGit {
  url(host?: string): string
  /** Resolves with the first request. */
  readonly asked: Promise<void>
  /** Answers what is held and whatever comes. */
  release(): void
  close(): void
}

export const startSlowGit = async (): Promise<SlowGit> => {
  const asked = Promise.withResolvers<void>()
  const released = Promise.withResolvers<void>()
  const server = createServer(async (_request, response) => {
    asked.resolve()
    await released.promise
    response.setHeader('content-type', 'application/x-git-upload-pack-advertisement')
    const capabilities = `${'0'.repeat(40)} capabilities^{}\0multi_ack\n`
    const line = (text: string) => (text.length + 4).toString(16).padStart(4, '0') + text
    response.end(`${line('# service=git-upload-pack\n')}0000${line(capabilities)}0000`)
  })
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: (host = '127.0.0.1') => `http://${host}:${port}/repository.git`,
    asked: asked.promise,
    release: released.resolve,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}
