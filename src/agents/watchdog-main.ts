/**
 * The watchdog: a small process that outlives its node just long enough to end what the node started. It knows every
 * process tree of every agent; when the pipe from the node closes, however the node came to its end, it kills them all
 * and exits. It imports next to nothing, since every node pays for it.
 */
import { endTree, type TreeRoot } from './processes.ts'
import {
  agentVariable,
  createLines,
  execVariable,
  nodeVariable,
  type EndScope,
  type FromWatchdog,
  type ToWatchdog,
  type WatchdogOptions,
} from './watchdog-protocol.ts'

/** Empty until the node has told them, and then there is nothing to end yet. */
let options: WatchdogOptions | undefined
const roots = new Map<string, { agent: string; root: TreeRoot }>()

const say = (message: FromWatchdog): void => void process.stdout.write(`${JSON.stringify(message)}\n`)

const end = ({ node, agent, exec }: EndScope): number => {
  if (!options) return 0
  const { nodeMark } = options
  const concerned = [...roots].filter(
    ([id, entry]) =>
      node === nodeMark && (agent === undefined || entry.agent === agent) && (exec === undefined || id === exec),
  )
  const marks = {
    [nodeVariable]: node,
    ...(agent !== undefined && { [agentVariable]: agent }),
    ...(exec !== undefined && { [execVariable]: exec }),
  }
  const left = endTree(
    concerned.map(([, entry]) => entry.root),
    marks,
    options,
  )
  for (const [id] of concerned) roots.delete(id)
  return left.length
}

const onMessage = (message: ToWatchdog): void => {
  if (message.type === 'options') {
    options = message
    say({ type: 'ready' })
  } else if (message.type === 'started') roots.set(message.exec, { agent: message.agent, root: message.root })
  else if (message.type === 'ended') roots.delete(message.exec)
  else say({ type: 'done', id: message.id, left: end(message.scope) })
}

const onNodeGone = (): void => {
  if (options) end({ node: options.nodeMark })
  process.exit(0)
}

// A terminal or a supervisor that signals the node's neighbours must not end the one that cleans up after it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) process.on(signal, () => {})
process.stdout.on('error', () => {})
process.stdin.setEncoding('utf8')
process.stdin.on(
  'data',
  createLines((line) => onMessage(JSON.parse(line) as ToWatchdog)),
)
process.stdin.on('end', onNodeGone)
process.stdin.on('error', onNodeGone)
