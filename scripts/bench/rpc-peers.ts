/** What the benchmarks of RPC and bulk compare: this project's net room, grpc-js over TLS, and Node's bare TLS. */
import { execFileSync, fork, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Bytes } from '../../src/base/schema.ts'
import { silentLog } from '../../src/base/log.ts'
import { limits } from '../../src/base/limits.ts'
import { silentMeter } from '../../src/base/meter.ts'
import { createNodeKey } from '../../src/identity/node-key.ts'
import { unary } from '../../src/net/method.ts'
import { startNet, type Net } from '../../src/net/net.ts'
import { createRealClock } from '../../src/node/real-clock.ts'

export const bulkChunkBytes = 64 * 1024

export const echo = unary({ name: 'bench.echo', access: 'anyone', request: Bytes(1024), response: Bytes(1024) })

/** `bytes` in chunks, all of them the same memory: what is measured is the way, not the making. */
export async function* chunks(bytes: number): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(bulkChunkBytes, 7)
  for (let left = bytes; left > 0; left -= chunk.length) yield left < chunk.length ? chunk.subarray(0, left) : chunk
}

const same = (value: Buffer): Buffer => value
const codec = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same }
export const grpcService = {
  echo: { path: '/bench/echo', requestStream: false, responseStream: false, ...codec },
  pull: { path: '/bench/pull', requestStream: false, responseStream: true, ...codec },
}

export interface Certificate {
  cert: string
  key: string
  pem: Buffer
  remove(): void
}

/** A self-signed certificate for localhost, made by openssl. */
export const makeCertificate = (): Certificate => {
  const dir = mkdtempSync(join(tmpdir(), 'godel-bench-'))
  const [cert, key] = [join(dir, 'cert.pem'), join(dir, 'key.pem')]
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
  const form = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  execFileSync('openssl', [...form, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  return { cert, key, pem: readFileSync(cert), remove: () => rmSync(dir, { recursive: true }) }
}

/** Starts a server process; gives what it says of itself. */
export const startServer = async <T>(
  kind: 'net' | 'grpc' | 'tls',
  ...rest: string[]
): Promise<{ child: ChildProcess; info: T }> => {
  const child = fork(fileURLToPath(new URL('./rpc-server.ts', import.meta.url)), [kind, ...rest], {
    execPath: process.execPath,
    execArgv: process.env['BENCH_SERVER_ARGS']?.split(' ') ?? [],
  })
  const info = await new Promise<T>((resolve, reject) => {
    child.once('message', (message) => resolve(message as T))
    child.once('exit', (code) => reject(new Error(`the ${kind} server ended with ${code}`)))
  })
  child.removeAllListeners('exit')
  return { child, info }
}

/** A net connected to the server process, admitted on this side. */
export const connectNet = async (server: { peer: string; addresses: string[] }): Promise<Net> => {
  const deps = { key: createNodeKey(), limits, clock: createRealClock(), log: silentLog, meter: silentMeter }
  const net = await startNet(deps, { listen: [] })
  await net.dial(server.peer, server.addresses)
  net.admit(server.peer, { kind: 'member', role: 'admin' })
  return net
}
