/**
 * Room cli: the program `godel-node`, also called as `godel` and `swarmctl`.
 *
 * main.ts          finds the command and loads that one alone, since every start pays for what it loads (this file)
 * command.ts       what all commands share; values.ts reads the values of options; output.ts prints
 * start.ts         runs a node; start-options.ts reads what it is started with
 * status.ts peers.ts doctor.ts      the node, its peers, its host; configure.ts its settings; drain.ts undrain.ts audit.ts
 * certificate-end.ts               shared by status.ts and realm-show.ts
 * realm-*.ts       the realm: who may admit, who is out, its root key, other realms; names.ts confirm.ts help them
 * federation-*.ts  single nodes outside the realm
 * agent-*.ts       agents: spawn, list, show, kill, exec; spawn-options.ts is shared with why-not.ts
 * routes.ts why-not.ts              placement and its reasons
 */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { GodelError, hasCode } from '../base/errors.ts'
import { withExamples, type CommandModule, type Examples } from './command.ts'
import { endOnClosedPipe, printError } from './output.ts'

interface Entry {
  summary: string
  load: () => Promise<CommandModule>
}

type Group = { summary: string; examples: Examples; commands: Record<string, Entry> }

const commands: Record<string, Entry | Group> = {
  start: { summary: 'run a node', load: () => import('./start.ts') },
  status: { summary: 'show the state of the node', load: () => import('./status.ts') },
  peers: { summary: 'list the nodes of the realm', load: () => import('./peers.ts') },
  configure: { summary: 'show and change settings of the running node', load: () => import('./configure.ts') },
  drain: { summary: 'take nothing new, and wait for what runs', load: () => import('./drain.ts') },
  undrain: { summary: 'take agents again', load: () => import('./undrain.ts') },
  audit: { summary: 'show what was refused, and what was changed', load: () => import('./audit.ts') },
  doctor: { summary: 'check this host', load: () => import('./doctor.ts') },
  realm: {
    summary: 'the realm of the node',
    examples: [
      ['realm show', 'its id, its version and who may invite'],
      ['realm invite --uses 20 --ttl 2d', 'a token for a whole rack'],
      ['realm promote gpu-box', 'it may admit members as well'],
      ['realm revoke stolen-laptop', 'out at once, until lifted'],
      ['realm card > lab.card', 'for the operator of another realm'],
      ['realm trust @plant.card --out', 'agents of this realm may go there'],
      ['realm share plant --scope exec --scope capacity --quota 2', 'its agents may come here'],
    ],
    commands: {
      invite: { summary: 'make a join token', load: () => import('./realm-invite.ts') },
      show: { summary: 'show the realm', load: () => import('./realm-show.ts') },
      promote: { summary: 'let a member invite and admit', load: () => import('./realm-promote.ts') },
      demote: { summary: 'take the right to invite from a node', load: () => import('./realm-demote.ts') },
      revoke: { summary: 'put a node out, at once', load: () => import('./realm-revoke.ts') },
      lift: { summary: 'take a revocation back', load: () => import('./realm-lift.ts') },
      revocations: { summary: 'list who is out', load: () => import('./realm-revocations.ts') },
      'rotate-root': {
        summary: 'put a new root key in the place of the old',
        load: () => import('./realm-rotate-root.ts'),
      },
      card: { summary: 'print what another realm needs to trust this one', load: () => import('./realm-card.ts') },
      trust: { summary: 'name another realm by its card', load: () => import('./realm-trust.ts') },
      share: { summary: 'let the nodes of another realm do something here', load: () => import('./realm-share.ts') },
      withdraw: { summary: 'end everything with another realm', load: () => import('./realm-withdraw.ts') },
      realms: { summary: 'list the other realms that are named', load: () => import('./realm-realms.ts') },
    },
  },
  federation: {
    summary: 'single nodes outside the realm, pinned on both sides',
    examples: [
      ['federation register /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...', 'agents may go there, if it pins this node too'],
      ['federation register 12D3KooW... --scope exec --quota 2', 'its agents may come here'],
      ['federation list', 'what each may do here'],
    ],
    commands: {
      register: { summary: 'pin a node', load: () => import('./federation-register.ts') },
      unregister: { summary: 'end a pin', load: () => import('./federation-unregister.ts') },
      list: { summary: 'list the pinned nodes', load: () => import('./federation-list.ts') },
    },
  },
  agent: {
    summary: 'agents anywhere in the realm',
    examples: [
      ['agent spawn --gpu --workspace .', 'on a node with a GPU, with the files of this directory'],
      ['agent exec ag_0192... -- npm test', 'its output comes as it is said'],
      ['agent list', 'those of the whole realm'],
      ['agent kill ag_0192...', 'its workspace is kept for a day'],
    ],
    commands: {
      spawn: { summary: 'start an agent where it fits best', load: () => import('./agent-spawn.ts') },
      list: { summary: 'list agents', load: () => import('./agent-list.ts') },
      show: { summary: 'show one agent', load: () => import('./agent-show.ts') },
      kill: { summary: 'end an agent', load: () => import('./agent-kill.ts') },
      exec: { summary: 'run a command in an agent', load: () => import('./agent-exec.ts') },
    },
  },
  routes: { summary: 'show where agents were placed, and why', load: () => import('./routes.ts') },
  'why-not': { summary: 'tell why a node would not be chosen', load: () => import('./why-not.ts') },
}

const examples: Examples = [
  ['start --realm lab', 'the first node of a realm'],
  ['realm invite', 'the line that the next one joins with'],
  ['agent spawn --gpu', 'an agent on a node with a GPU; prints its id'],
  ['agent exec ag_0192... -- nvidia-smi', 'a command in it'],
]

const EXIT_CODES = `
Exit codes:
  0  done
  1  refused or failed; the error says what to do
  2  wrong usage
  agent exec ends as its command did: with its exit code, or 128 and the number of the signal that ended it`

const programName = (script: string | undefined): string => {
  const name = basename(script ?? '').replace(/\.[^.]*$/, '')
  return name === 'godel' || name === 'swarmctl' ? name : 'godel-node'
}

const readVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version

/** Runs one command line; the exit code is left in process.exitCode. */
const main = async (argv: string[]): Promise<void> => {
  const words = argv.slice(2)
  if (words.length === 1 && (words[0] === '--version' || words[0] === '-V')) {
    process.stdout.write(`${readVersion()}\n`)
    return
  }
  const end = words.indexOf('--')
  const json = (end === -1 ? words : words.slice(0, end)).includes('--json')
  try {
    const program = await buildProgram(programName(argv[1]))
    // `help X` is `X --help`, which loads the options of X first.
    await program.parseAsync(words[0] === 'help' ? [...words.slice(1), '--help'] : words, { from: 'user' })
  } catch (error) {
    process.exitCode = report(error, json)
  }
}

const buildProgram = async (name: string) => {
  const { Command } = await import('commander')
  type Built = InstanceType<typeof Command>

  const prepare = (command: Built): Built =>
    command
      .exitOverride()
      .enablePositionalOptions()
      .configureOutput({ outputError: () => {} })
      .helpOption('-h, --help', 'show this help')

  const add = (parent: Built, entries: Record<string, Entry | Group>): void => {
    const modules = new Map<string, Entry>()
    for (const [word, entry] of Object.entries(entries)) {
      const command = prepare(parent.command(word).summary(entry.summary).description(capitalised(entry.summary)))
      command.helpCommand(false)
      if ('commands' in entry) add(withExamples(command, entry.examples), entry.commands)
      else modules.set(word, entry)
    }
    // Options are known only once the command's module is there, which is in time for its part of the line.
    parent.hook('preSubcommand', async (_parent, command) => {
      const entry = modules.get(command.name())
      if (entry !== undefined) (await entry.load()).define(command)
    })
  }

  const program = prepare(new Command(name))
    .description('Run AI agents and jobs wherever in a mesh of your machines they fit best.')
    .version(readVersion(), '-V, --version', 'show the version')
    .addHelpText('after', EXIT_CODES)
  add(withExamples(program, examples), commands)
  return program
}

const capitalised = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}.`

/** Prints an error and gives the exit code that it stands for. */
const report = (error: unknown, json: boolean): number => {
  const { code, exitCode, message } = error as { code?: unknown; exitCode?: unknown; message?: string }
  if (typeof code === 'string' && code.startsWith('commander.')) {
    // Help and version are asked for and no error; help for want of a command has been printed already.
    if (exitCode === 0) return 0
    if (code === 'commander.help') return 2
    const reason = (message ?? '').replace(/^error: /, '').replaceAll('\n', ' ')
    printError(new GodelError({ code: 'INVALID_ARGUMENT', field: 'the command line:', reason }), json)
    return 2
  }
  printError(error, json)
  return hasCode(error, 'INVALID_ARGUMENT') ? 2 : 1
}

endOnClosedPipe()
await main(process.argv)
