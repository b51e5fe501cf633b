/** One large transfer between two processes: a bulk stream of the net room against grpc-js server streaming and bare TLS. */
import { connect } from 'node:tls'
import type { Net } from '../../src/net/net.ts'
import { connectNet, grpcService, makeCertificate, startServer } from './rpc-peers.ts'
import { median, spread, type BenchRow } from './row.ts'

const runs = 5
const bytes = 512 * 1024 * 1024

const request = (): Buffer => {
  const buffer = Buffer.alloc(8)
  buffer.writeDoubleBE(bytes)
  return buffer
}

const rate = (sinceMs: number) => bytes / 1e3 / (performance.now() - sinceMs)

const ourRun = (net: Net, peer: string) => {
  let done: ((value: number) => void) | undefined
  net.bulk.handle('bytes', async (_peer, _header, source) => {
    const start = performance.now()
    let left = bytes
    for await (const chunk of source) left -= chunk.byteLength
    if (left !== 0) throw new Error(`${left} bytes are missing`)
    done?.(rate(start))
    return null
  })
  return async (): Promise<number> => {
    const { promise, resolve } = Promise.withResolvers<number>()
    done = resolve
    await net.bulk.send(peer, 'want', { bytes }, (async function* () {})())
    return promise
  }
}

const grpcRun = async (port: number, pem: Buffer) => {
  const grpc = await import('@grpc/grpc-js')
  const Client = grpc.makeGenericClientConstructor(grpcService, 'bench')
  const client = new Client(`localhost:${port}`, grpc.credentials.createSsl(pem)) as unknown as {
    pull(value: Buffer): AsyncIterable<Buffer>
    close(): void
  }
  const pull = async (): Promise<number> => {
    const start = performance.now()
    let left = bytes
    for await (const chunk of client.pull(request())) left -= chunk.length
    if (left !== 0) throw new Error(`${left} bytes are missing`)
    return rate(start)
  }
  return { pull, close: () => client.close() }
}

const tlsRun = (port: number, ca: Buffer) => (): Promise<number> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', ca }, () => {
      const start = performance.now()
      let left = bytes
      socket.write(request())
      socket.on('data', (chunk: Buffer) => {
        left -= chunk.length
        if (left > 0) return
        socket.destroy()
        resolve(rate(start))
      })
    })
    socket.on('error', reject)
  })

export const run = async (): Promise<BenchRow[]> => {
  const certificate = makeCertificate()
  const { cert, key, pem } = certificate
  const ours = await startServer<{ peer: string; addresses: string[] }>('net')
  const grpcServer = await startServer<{ port: number }>('grpc', cert, key)
  const tlsServer = await startServer<{ port: number }>('tls', cert, key)
  const net = await connectNet(ours.info)
  const grpc = await grpcRun(grpcServer.info.port, pem)
  try {
    const ways = [ourRun(net, ours.info.peer), grpc.pull, tlsRun(tlsServer.info.port, pem)]
    const values: number[][] = ways.map(() => [])
    for (let each = -1; each < runs; each++) {
      // The first round warms up and does not count.
      for (const [index, way] of ways.entries()) {
        const value = await way()
        if (each >= 0) values[index]!.push(value)
      }
    }
    const [own, grpcValues, tlsValues] = values as [number[], number[], number[]]
    return [row(own, 'grpc-js over TLS', grpcValues), row(own, 'node:tls', tlsValues)]
  } finally {
    grpc.close()
    await net.close()
    for (const { child } of [ours, grpcServer, tlsServer]) child.disconnect()
    certificate.remove()
  }
}

const row = (ours: number[], peer: string, theirs: number[]): BenchRow => {
  const [value, peerValue] = [median(ours), median(theirs)]
  return {
    bench: 'bulk',
    case: 'stream',
    value,
    unit: 'MB/s',
    peer,
    peerValue,
    ratio: value / peerValue,
    runs,
    spread: spread(ours),
  }
}
