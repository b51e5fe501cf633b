'use strict'
/**
 * Gets a program onto Node 24 or later, whatever `node` the machine has. Where this process is new enough it goes on in
 * place. Elsewhere it runs the same launcher again with the Node that the architecture package carries, and stands
 * between the two as if it were not there: arguments, standard streams, signals, exit code.
 *
 * The child gets a session of its own. A terminal's Ctrl-C and a `kill` of this process then reach it by one way only,
 * this process, and so exactly once. A pipe tells the child when this process is gone without a word (`kill -9`).
 *
 * Kept to syntax and modules that any Node of the last years has, and to as few of them as possible: each command pays.
 */
const { join } = require('node:path')

const MAJOR_NEEDED = 24
const GUARD = 'GODEL_LAUNCHER_FD'
const GUARD_FD = 3
/** What a person, a shell, a terminal or a supervisor sends, to be handed on as it comes. */
const FORWARDED = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGWINCH']

const isNewEnough = () => Number(process.versions.node.split('.')[0]) >= MAJOR_NEEDED

/** The path of a Node that is new enough, or undefined. Found from here, so also where the package was hoisted. */
function findNode() {
  if (isNewEnough()) return process.execPath
  try {
    return require.resolve(`node-${process.platform}-${process.arch}/bin/node`)
  } catch {
    return undefined
  }
}

function explainMissing() {
  const wanted = `Node.js ${MAJOR_NEEDED} or later is needed and this is Node.js ${process.versions.node}.`
  const shipped = process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64')
  return shipped
    ? `${wanted} The optional package node-${process.platform}-${process.arch} carries one and is not installed: ` +
        `install again without --omit=optional, or install Node.js ${MAJOR_NEEDED}.\n`
    : `${wanted} None is shipped for ${process.platform} ${process.arch}: install Node.js ${MAJOR_NEEDED} and put it first in PATH.\n`
}

/** Runs `args` on a new enough Node and ends as that ends. `guard` is for a child that watches the pipe to this process. */
function relaunch(args, guard = {}) {
  const node = findNode()
  if (node === undefined) {
    process.stderr.write(explainMissing())
    process.exitCode = 1
    return
  }
  // Handlers first: a signal between the start of the child and its handler would end this process alone.
  const forward = (signal) => child.kill(signal)
  for (const signal of FORWARDED) process.on(signal, forward)
  // Ctrl-Z: the child stops with this process and goes on with it. The stop itself cannot be handed on: the kernel
  // ignores SIGTSTP in a session without a terminal.
  process.on('SIGTSTP', () => {
    child.kill('SIGSTOP')
    process.kill(process.pid, 'SIGSTOP')
  })
  process.on('SIGCONT', () => child.kill('SIGCONT'))

  const child = require('node:child_process').spawn(node, args, {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    detached: true,
    env: { ...process.env, ...guard },
  })
  child.on('error', (error) => {
    process.stderr.write(`${node} could not be started: ${error.message}\n${explainMissing()}`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
    // Reached where the signal does not end this process, as a blocked or ignored one.
    setTimeout(() => process.exit(1), 1000)
  })
}

/** In the child: ends this process, as `kill -9` would, when the launcher has ended without ending it. */
function watchLauncher() {
  delete process.env[GUARD]
  if (!isSocket(GUARD_FD)) return
  const { Socket } = require('node:net')
  const pipe = new Socket({ fd: GUARD_FD, readable: true, writable: false })
  pipe.on('error', () => {})
  pipe.on('close', () => process.kill(process.pid, 'SIGKILL'))
  pipe.resume()
  pipe.unref()
}

/** False too where the descriptor is closed, as it is for a program that merely inherited the variable. */
function isSocket(fd) {
  try {
    return require('node:fs').fstatSync(fd).isSocket()
  } catch {
    return false
  }
}

/** Calls `inPlace` where this Node is new enough, and otherwise runs this process's own script again on one that is. */
function onNewNode(inPlace) {
  if (!isNewEnough()) return relaunch(process.argv.slice(1), { [GUARD]: String(GUARD_FD) })
  if (process.env[GUARD] === String(GUARD_FD)) watchLauncher()
  return inPlace()
}

/** Imports an ES module by its path, as the program that this process runs. */
function runModule(path) {
  return import(require('node:url').pathToFileURL(path).href)
}

module.exports = { onNewNode, relaunch, runModule, root: join(__dirname, '..') }
