#!/usr/bin/env node
'use strict'
/** The command `godel-node`, and `godel` and `swarmctl` with it: the CLI, on a Node that is new enough for it. */
const { existsSync } = require('node:fs')
const { join } = require('node:path')
const { onNewNode, root, runModule } = require('./runtime.cjs')

onNewNode(() => {
  const built = join(root, 'dist', 'cli', 'main.js')
  // A checkout that was not built runs from its sources.
  return runModule(existsSync(built) ? built : join(root, 'src', 'cli', 'main.ts'))
})
