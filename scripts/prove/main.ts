/**
 * `npm run prove -- NAME [--quick] [--seed N] [--dry]`: runs one proof, prints its figures, and keeps them in docs/proofs.md
 * unless it was quick or --dry. Without a name: which there are. Ends with 1 where a figure is beyond its bound, and, unless --dry,
 * where a part could not be run.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, release, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { format, resolveConfig } from 'prettier'
import { verdictOf, type Proof } from './proof.ts'
import { randomFrom } from './random.ts'
import { sectionOf, withSection } from './report.ts'

const root = join(import.meta.dirname, '..', '..')
const usage = 'npm run prove -- NAME [--quick] [--seed N] [--dry]'
const kept = join(root, 'docs', 'proofs.md')
const names = ['churn', 'partition', 'memory', 'crash', 'reconnect'] as const

const versionOf = (folder: string): string =>
  JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')).version

/** Milliseconds of all cores so far: all of them, and those in which nothing ran. */
const coreTimes = (): { all: number; idle: number } => {
  const times = cpus().map((core) => core.times)
  const sum = (values: number[]) => values.reduce((total, each) => total + each, 0)
  return { all: sum(times.flatMap((each) => Object.values(each))), idle: sum(times.map(({ idle }) => idle)) }
}

const proofOf = async (name: string): Promise<Proof> => (await import(`./${name}.ts`)).proof

const list = async (): Promise<void> => {
  process.stdout.write(`Usage: ${usage}\n`)
  for (const name of names) process.stdout.write(`  ${name.padEnd(10)} ${(await proofOf(name)).claim}\n`)
}

const keep = async (name: string, section: string): Promise<void> => {
  const text = withSection(readFileSync(kept, 'utf8'), name, section)
  writeFileSync(kept, await format(text, { ...(await resolveConfig(kept)), filepath: kept }))
}

const run = async (name: string, quick: boolean, seed: number, dry: boolean): Promise<void> => {
  const proof = await proofOf(name)
  const say = (line: string) => void process.stderr.write(`${line}\n`)
  const before = coreTimes()
  const fromMs = performance.now()
  const outcome = await proof.run({ quick, seed, random: randomFrom(seed), say })
  const after = coreTimes()
  const section = sectionOf(name, proof, outcome, {
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform} ${release()}`,
    versions: `node ${process.version}, godel-node ${versionOf('.')}, libp2p ${versionOf('node_modules/libp2p')}`,
    seed,
    tookS: (performance.now() - fromMs) / 1_000,
    busy: 1 - (after.idle - before.idle) / (after.all - before.all),
  })
  process.stdout.write(`${section}\n`)
  if (!quick && !dry) await keep(name, section)
  const verdict = verdictOf(outcome)
  if (verdict !== 'held' && !(dry && verdict === 'held in part')) process.exitCode = 1
}

const fail = (why: string): never => {
  process.stderr.write(`${why}\nUsage: ${usage}\n`)
  process.exit(2)
}

const parse = () => {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { quick: { type: 'boolean' }, dry: { type: 'boolean' }, seed: { type: 'string' } },
    })
  } catch (error) {
    return fail((error as Error).message)
  }
}

const seedOf = (text: string | undefined): number => {
  if (text === undefined) return Math.floor(Math.random() * 2 ** 31)
  const seed = Number(text)
  if (text.trim() === '' || !Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32)
    fail('--seed takes a whole number from 0 to 4294967295')
  return seed
}

const { values, positionals } = parse()
const seed = seedOf(values.seed)
const name = names.find((each) => each === positionals[0])
if (positionals.length === 0) await list()
else if (name === undefined || positionals.length > 1)
  fail(`there is no proof ${positionals.join(' ')}: ${names.join(', ')}`)
else {
  await run(name, values.quick ?? false, seed, values.dry ?? false)
  // Nodes that were killed leave timers of their libraries behind.
  process.exit()
}
