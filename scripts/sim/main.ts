/**
 * `npm run sim -- --scenario NAME --nodes N --seed S [--json]`: runs one scenario on simulated time, over the product's own mesh, and
 * prints what it measured; `npm run sim -- --calibrate --nodes N` runs the same course with real and with simulated nodes. What
 * is simulated and what is not: docs/simulation.md. Ends with 1 where somebody has not seen what it was to see, or views differ. The simulation itself is in test/sim, since its tests are its first users.
 */
import { spawnSync } from 'node:child_process'
import { freemem } from 'node:os'
import { parseArgs } from 'node:util'
import { profiles, type ProfileName } from '../../test/sim/network.ts'
import { runScenarios } from '../../test/sim/scenarios.ts'
import { scenarioNames, type ScenarioName, type ScenarioOptions } from '../../test/sim/stage.ts'
import { assumed, calibrationTable, environment, resultTable } from './report.ts'

const usage = `Usage: npm run sim -- --scenario ${scenarioNames.join('|')} --nodes N --seed S [--json]
                      [--profile lan|wan] [--seconds N] [--times N] [--starved PART]
                      [--loss P] [--drop P] [--duplicate P] [--reorder P]
       npm run sim -- --calibrate --nodes N [--seed S] [--json]
`

const nodesMax = 20_000
/** From here on the views need more memory than V8 takes by itself. */
const nodesInPlainHeap = 1_000
const enlarged = 'GODEL_SIM_ENLARGED'

const options = {
  scenario: { type: 'string' },
  nodes: { type: 'string', default: '100' },
  seed: { type: 'string' },
  json: { type: 'boolean', default: false },
  profile: { type: 'string', default: 'lan' },
  seconds: { type: 'string' },
  times: { type: 'string' },
  starved: { type: 'string' },
  loss: { type: 'string' },
  drop: { type: 'string' },
  duplicate: { type: 'string' },
  reorder: { type: 'string' },
  calibrate: { type: 'boolean', default: false },
} as const

const fail = (why: string): never => {
  process.stderr.write(`${why}\n${usage}`)
  process.exit(2)
}

const parse = () => {
  try {
    return parseArgs({ options }).values
  } catch (error) {
    return fail((error as Error).message)
  }
}

const number = (name: string, text: string | undefined, min: number, max: number): number | undefined => {
  if (text === undefined) return undefined
  const value = Number(text)
  if (text.trim() === '' || !(value >= min && value <= max)) fail(`--${name} takes a number from ${min} to ${max}`)
  return value
}

const values = parse()
const nodes = number('nodes', values.nodes, 4, nodesMax)!
if (!Number.isInteger(nodes)) fail('--nodes takes a whole number')
const seed = values.seed ?? String(Date.now() % 1_000_000)

const scenariosWanted = (): ScenarioName[] => {
  const wanted = (values.scenario ?? '').split(',') as ScenarioName[]
  if (!wanted.every((name) => scenarioNames.includes(name)))
    fail(`--scenario takes ${scenarioNames.join(', ')}, or several with commas between them, which share one realm`)
  return wanted
}

/** Each of these takes another node every time; the one that newcomers know does not leave, and somebody has to see it. */
const checkTimes = (times: number): void => {
  if (!Number.isInteger(times)) fail('--times takes a whole number')
  const scenarios = scenariosWanted()
  const timesMax = scenarios.some((name) => name === 'leave' || name === 'crash') ? nodes - 2 : nodes
  if (times > timesMax && scenarios.some((name) => ['ad', 'leave', 'crash'].includes(name)))
    fail(`--times takes at most ${timesMax} with --nodes ${nodes}: every time is another node's turn`)
}

const scenarioOptions = (): ScenarioOptions => {
  const [scenario] = scenariosWanted()
  if (!Object.hasOwn(profiles, values.profile)) fail(`--profile takes one of ${Object.keys(profiles).join(', ')}`)
  const seconds = number('seconds', values.seconds, 1, 86_400)
  const times = number('times', values.times, 1, 1_000)
  if (times !== undefined) checkTimes(times)
  const starvedPart = number('starved', values.starved, 0, 1)
  const faults = Object.fromEntries(
    (['loss', 'drop', 'duplicate', 'reorder'] as const).map((name) => [name, number(name, values[name], 0, 0.9) ?? 0]),
  )
  return {
    scenario: scenario!,
    nodes,
    seed,
    profile: values.profile as ProfileName,
    faults,
    ...(seconds !== undefined && { seconds }),
    ...(times !== undefined && { times }),
    ...(starvedPart !== undefined && { starvedPart }),
  }
}

/** Runs this command once more, with as much of the free memory for its heap as is prudent. */
const again = (): void => {
  const heapMb = Math.max(2_048, Math.floor((freemem() / 2 ** 20) * 0.85))
  const child = spawnSync(
    process.execPath,
    [
      `--max-old-space-size=${heapMb}`,
      '--max-semi-space-size=64',
      import.meta.filename,
      ...process.argv.slice(2),
      '--seed',
      seed,
    ],
    { stdio: 'inherit', env: { ...process.env, [enlarged]: '1' } },
  )
  process.exitCode = child.status ?? 1
}

const run = async (): Promise<void> => {
  const wanted = scenarioOptions()
  process.stderr.write(`seed ${seed}\n`)
  const results = await runScenarios(wanted, scenariosWanted(), (what) => process.stderr.write(`${what}\n`))
  const whole = results.map((result) => ({ ...result, ...environment(), assumed: assumed(wanted) }))
  if (values.json) console.log(JSON.stringify(whole.length === 1 ? whole[0] : whole, null, 2))
  else console.log(whole.map(resultTable).join('\n\n'))
  if (whole.some(({ missing, viewsEqual }) => missing > 0 || !viewsEqual)) process.exitCode = 1
}

const runCalibration = async (): Promise<void> => {
  process.stderr.write(`seed ${seed}\n`)
  const { calibrate } = await import('../../test/sim/calibrate.ts')
  const figures = await calibrate({ nodes, seed }, (what) => process.stderr.write(`${what}\n`))
  if (values.json) console.log(JSON.stringify({ calibration: figures, nodes, seed, ...environment() }, null, 2))
  else console.log(calibrationTable(figures, { nodes, seed }))
  // Sockets of real nodes that are on their way out are not waited for.
  process.exit(0)
}

if (values.calibrate) await runCalibration()
else if (scenarioOptions().nodes > nodesInPlainHeap && process.env[enlarged] === undefined) again()
else await run()
