'use strict'
/**
 * Runs a script of this project, or the command of a package that it depends on, on a Node that is new enough:
 *
 *   node bin/run.cjs scripts/build.ts     a path: it has a slash or an extension
 *   node bin/run.cjs vitest run           a name in node_modules/.bin
 *   node bin/run.cjs -p process.version   an option of Node's own: everything goes to Node as it is
 */
const { existsSync, realpathSync } = require('node:fs')
const { join, resolve } = require('node:path')
const { onNewNode, relaunch, root, runModule } = require('./runtime.cjs')

const [target, ...args] = process.argv.slice(2)

function locate(name) {
  const path = /[/.]/.test(name) ? resolve(name) : join(root, 'node_modules', '.bin', name)
  return existsSync(path) ? realpathSync(path) : undefined
}

function runTarget() {
  const path = locate(target)
  if (path === undefined) {
    process.stderr.write(`${target} is neither a file here nor a command in node_modules/.bin. Run npm ci first.\n`)
    process.exitCode = 1
    return undefined
  }
  process.argv = [process.argv[0], path, ...args]
  return runModule(path)
}

if (target === undefined) {
  process.stderr.write('Usage: node bin/run.cjs SCRIPT|COMMAND|NODE-OPTION [ARGUMENT...]\n')
  process.exitCode = 2
} else if (target.startsWith('-')) {
  relaunch([target, ...args])
} else {
  onNewNode(runTarget)
}
