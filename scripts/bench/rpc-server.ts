/** The answering side of the benchmarks of RPC and bulk, in a process of its own: `rpc-server.ts net|grpc|tls [cert key]`. */
import type { handleUnaryCall, ServerWritableStream } from '@grpc/grpc-js'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:tls'
import { silentLog } from '../../src/base/log.ts'
import { limits } from '../../src/base/limits.ts'
import { silentMeter } from '../../src/base/meter.ts'
import { createNodeKey } from '../../src/identity/node-key.ts'
import { bind } from '../../src/net/method.ts'
import { startNet } from '../../src/net/net.ts'
import { createRealClock } from '../../src/node/real-clock.ts'
import { chunks, echo, grpcService } from './rpc-peers.ts'

const ready = (value: unknown) => process.send!(value)

const serveNet = async () => {
  const deps = { key: createNodeKey(), limits, clock: createRealClock(), log: silentLog, meter: silentMeter }
  const net = await startNet(deps, { listen: ['/ip4/127.0.0.1/tcp/0'] })
  net.onConnected((peer) => net.admit(peer, { kind: 'member', role: 'admin' }))
  net.rpc.register([bind(echo, (request) => request)])
  // The client asks for a number of bytes, and gets them back on a bulk stream.
  net.bulk.handle('want', async (peer, header) => {
    const { bytes } = header as { bytes: number }
    setImmediate(() => void net.bulk.send(peer, 'bytes', null, chunks(bytes)).catch(() => {}))
    return null
  })
  ready({ peer: net.peer, addresses: net.addresses() })
}

const serveGrpc = async (cert: string, key: string) => {
  const grpc = await import('@grpc/grpc-js')
  const server = new grpc.Server({ 'grpc.max_concurrent_streams': 10_000 })
  const unaryEcho: handleUnaryCall<Buffer, Buffer> = (call, done) => done(null, call.request)
  const pull = async (call: ServerWritableStream<Buffer, Buffer>) => {
    for await (const chunk of chunks(call.request.readDoubleBE())) {
      if (!call.write(chunk as Buffer)) await new Promise((resolve) => call.once('drain', resolve))
    }
    call.end()
  }
  server.addService(grpcService, {
    echo: unaryEcho,
    pull: (call: ServerWritableStream<Buffer, Buffer>) => void pull(call),
  })
  const pair = { cert_chain: readFileSync(cert), private_key: readFileSync(key) }
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createSsl(null, [pair]), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  )
  ready({ port })
}

const serveTls = (cert: string, key: string) => {
  const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (socket) => {
    socket.once('data', async (request: Buffer) => {
      for await (const chunk of chunks(request.readDoubleBE())) {
        if (!socket.write(chunk)) await new Promise((resolve) => socket.once('drain', resolve))
      }
    })
    socket.on('error', () => {})
  })
  server.listen(0, '127.0.0.1', () => ready({ port: (server.address() as { port: number }).port }))
}

const [kind, cert = '', key = ''] = process.argv.slice(2)
process.on('disconnect', () => process.exit())
if (kind === 'net') await serveNet()
else if (kind === 'grpc') await serveGrpc(cert, key)
else serveTls(cert, key)
