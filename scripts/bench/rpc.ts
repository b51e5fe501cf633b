/** Unary calls of 100 bytes between two processes: the net room against grpc-js over TLS, alternating, several runs. */
import { connectNet, echo, grpcService, makeCertificate, startServer } from './rpc-peers.ts'
import { median, spread, type BenchRow } from './row.ts'

const runs = 5
const warmUpMs = 1_000
const runMs = 1_500
const payload = Buffer.alloc(100, 7)

type Call = () => Promise<unknown>

/** Calls that were answered in `ms` with `inFlight` at once. */
const callsIn = async (call: Call, inFlight: number, ms: number): Promise<{ calls: number; ms: number }> => {
  const start = performance.now()
  let calls = 0
  const one = async () => {
    while (performance.now() - start < ms) {
      await call()
      calls++
    }
  }
  await Promise.all(Array.from({ length: inFlight }, one))
  return { calls, ms: performance.now() - start }
}

const latencyMs = async (call: Call): Promise<number> => {
  const result = await callsIn(call, 1, runMs)
  return result.ms / result.calls
}

const perSecond = async (call: Call, inFlight: number): Promise<number> => {
  const result = await callsIn(call, inFlight, runMs)
  return (1_000 * result.calls) / result.ms
}

const grpcCall = async (port: number, pem: Buffer): Promise<{ call: Call; close(): void }> => {
  const grpc = await import('@grpc/grpc-js')
  const Client = grpc.makeGenericClientConstructor(grpcService, 'bench')
  const client = new Client(`localhost:${port}`, grpc.credentials.createSsl(pem)) as unknown as {
    echo(value: Buffer, done: (error: Error | null, value: Buffer) => void): void
    close(): void
  }
  const call = () =>
    new Promise((resolve, reject) =>
      client.echo(payload, (error, value) => (error === null ? resolve(value) : reject(error))),
    )
  return { call, close: () => client.close() }
}

const alternate = async (ours: () => Promise<number>, theirs: () => Promise<number>) => {
  const values: { ours: number[]; theirs: number[] } = { ours: [], theirs: [] }
  for (let run = 0; run < runs; run++) {
    values.ours.push(await ours())
    values.theirs.push(await theirs())
  }
  return values
}

export const run = async (): Promise<BenchRow[]> => {
  const certificate = makeCertificate()
  const ours = await startServer<{ peer: string; addresses: string[] }>('net')
  const theirs = await startServer<{ port: number }>('grpc', certificate.cert, certificate.key)
  const net = await connectNet(ours.info)
  const grpc = await grpcCall(theirs.info.port, certificate.pem)
  try {
    const call = () => net.rpc.call(ours.info.peer, echo, payload)
    for (const each of [call, grpc.call]) {
      await callsIn(each, 1, warmUpMs)
      await callsIn(each, 100, warmUpMs)
    }
    const latency = await alternate(
      () => latencyMs(call),
      () => latencyMs(grpc.call),
    )
    const rate = await alternate(
      () => perSecond(call, 100),
      () => perSecond(grpc.call, 100),
    )
    const latencyRow = row('unary-latency', 'ms', latency, (value, peer) => peer / value)
    return [latencyRow, row('unary-100', 'calls/s', rate, (value, peer) => value / peer)]
  } finally {
    grpc.close()
    await net.close()
    ours.child.disconnect()
    theirs.child.disconnect()
    certificate.remove()
  }
}

const row = (
  name: string,
  unit: string,
  values: { ours: number[]; theirs: number[] },
  ratio: (value: number, peer: number) => number,
): BenchRow => {
  const [value, peerValue] = [median(values.ours), median(values.theirs)]
  const peer = 'grpc-js over TLS'
  return {
    bench: 'rpc',
    case: name,
    value,
    unit,
    peer,
    peerValue,
    ratio: ratio(value, peerValue),
    runs,
    spread: spread(values.ours),
  }
}
