/** The audit log over a real file and a clock of the test. */
import { appendFileSync, existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, rmdirSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, test } from 'vitest'
import type { AuditEntry } from '../../../src/base/audit.ts'
import { limits, type Limits } from '../../../src/base/limits.ts'
import { silentLog, type Log } from '../../../src/base/log.ts'
import { openFileAudit } from '../../../src/node/file-audit.ts'
import { createFakeClock, type FakeClock } from '../../fakes/clock.ts'

const directory = mkdtempSync(join(tmpdir(), 'godel-audit-'))
afterAll(() => rmSync(directory, { recursive: true }))

let clock: FakeClock
let path: string
let files = 0
beforeEach(() => {
  clock = createFakeClock()
  path = join(directory, `audit-${files++}.log`)
})

const open = (given: Partial<Limits> = {}, log: Log = silentLog) =>
  openFileAudit({ clock, log, limits: { ...limits, ...given } }, { path, refusedPath: refusedPath() })
const refusedPath = () => `${path}-refused`
const refusal = (by: string, code = 'FORBIDDEN'): AuditEntry => ({
  action: 'call agent.kill',
  by,
  outcome: 'refused',
  reason: `${code}: it is not yours`,
})
const done = (subject: string): AuditEntry => ({ action: 'revoke', by: 'api', subject, outcome: 'done' })
/** Of both files, in the order in which they were written. */
const lines = () =>
  [path, refusedPath()]
    .filter((file) => existsSync(file))
    .flatMap((file) => readFileSync(file, 'utf8').split('\n'))
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
    .toSorted((one, other) => one.seq - other.seq)

test('an entry is a line of JSON with its time, in a file for its owner alone', () => {
  const audit = open()
  audit.record(done('peer-1'))
  expect(lines()).toEqual([{ time: new Date(clock.wallMs()).toISOString(), seq: 1, ...done('peer-1') }])
  expect(statSync(path).mode & 0o777).toBe(0o600)
  audit.close()
})

test('what was there before is there after a start, and counts on', () => {
  const first = open()
  first.record(done('peer-1'))
  first.close()
  const second = open()
  second.record(done('peer-2'))
  expect(second.read({ limit: 10 }).map(({ seq, subject }) => [seq, subject])).toEqual([
    [1, 'peer-1'],
    [2, 'peer-2'],
  ])
  second.close()
})

describe('a flood', () => {
  test('of one refusal is one line a second, with the number of those left out', async () => {
    const audit = open()
    for (let n = 0; n < 500; n++) audit.record(refusal('mallory'))
    expect(lines()).toHaveLength(1)
    await clock.advance(limits.auditRepeatMs)
    expect(lines()).toHaveLength(2)
    expect(lines()[1]).toMatchObject({ by: 'mallory', omitted: 498 })
    await clock.advance(10 * limits.auditRepeatMs)
    expect(lines()).toHaveLength(2)
    audit.record(refusal('mallory'))
    expect(lines().at(-1)).not.toHaveProperty('omitted')
    audit.close()
  })

  test('does not hide another code, another peer, or what was done', () => {
    const audit = open()
    for (const entry of [
      refusal('mallory'),
      refusal('mallory', 'NOT_A_MEMBER'),
      refusal('eve'),
      done('peer-1'),
      done('peer-2'),
    ])
      audit.record(entry)
    expect(lines()).toHaveLength(5)
    audit.close()
  })

  test('under many names goes together, and nothing that was done is lost in it', async () => {
    const audit = open({ auditKeysMax: 10 })
    for (let n = 0; n < 1_000; n++) audit.record(refusal(`peer-${n}`))
    audit.record(done('peer-1'))
    await clock.advance(limits.auditRepeatMs)
    expect(lines().length).toBeLessThan(15)
    expect(
      lines()
        .filter(({ by }) => by === 'many')
        .at(-1),
    ).toMatchObject({ omitted: expect.any(Number) })
    expect(lines().filter(({ outcome }) => outcome === 'done')).toHaveLength(1)
    audit.close()
  })

  test('of refusals pushes out nothing that was done, in files or in what is read, before a start and after', async () => {
    const given = { auditFileBytesMax: 2_000, auditEntriesKept: 10 }
    const audit = open(given)
    for (const subject of ['peer-1', 'peer-2']) audit.record(done(subject))
    for (let n = 0; n < 200; n++) {
      audit.record(refusal(`peer-${n}`))
      await clock.advance(10)
    }
    const subjects = (log: typeof audit) => log.read({ limit: 10 }).map(({ outcome, subject }) => subject ?? outcome)
    const expected = ['peer-1', 'peer-2', ...Array.from({ length: 8 }, () => 'refused')]
    expect(subjects(audit)).toEqual(expected)
    expect(audit.read({ limit: 1 })).toMatchObject([{ by: 'peer-199' }])
    audit.close()
    const again = open(given)
    expect(subjects(again)).toEqual(expected)
    again.record(done('peer-3'))
    expect(again.read({ limit: 2 }).map(({ seq }) => seq)).toEqual([202, 203])
    again.close()
    expect(statSync(refusedPath()).mode & 0o777).toBe(0o600)
  })

  test('of an earlier version, which kept both in one file, is read as well', () => {
    const line = (seq: number, entry: AuditEntry) =>
      `${JSON.stringify({ time: new Date(clock.wallMs()).toISOString(), seq, ...entry })}\n`
    appendFileSync(path, line(1, done('peer-1')) + line(2, refusal('mallory')) + line(3, done('peer-2')))
    const audit = open()
    expect(audit.read({ limit: 10 }).map(({ seq }) => seq)).toEqual([1, 2, 3])
    audit.close()
  })

  test('that goes on at the end is counted', () => {
    const audit = open()
    for (let n = 0; n < 3; n++) audit.record(refusal('mallory'))
    audit.close()
    expect(lines().at(-1)).toMatchObject({ omitted: 1 })
  })
})

test('two files are kept, each of bounded size', () => {
  const audit = open({ auditFileBytesMax: 2_000 })
  for (let n = 0; n < 200; n++) audit.record(done(`peer-${n}`))
  for (const file of [path, `${path}.1`]) expect(statSync(file).size).toBeLessThan(2_200)
  expect(lines().at(-1)).toMatchObject({ subject: 'peer-199' })
  audit.close()
})

test('the newest are read, from a time on, and no more than are kept', async () => {
  const audit = open({ auditEntriesKept: 5 })
  for (let n = 0; n < 12; n++) {
    audit.record(done(`peer-${n}`))
    await clock.advance(1_000)
  }
  const subjects = (query: { limit: number; sinceMs?: number }) => audit.read(query).map(({ subject }) => subject)
  expect(subjects({ limit: 2 })).toEqual(['peer-10', 'peer-11'])
  expect(subjects({ limit: 100 })).toHaveLength(5)
  expect(subjects({ limit: 100, sinceMs: clock.wallMs() - 1_000 })).toEqual(['peer-11'])
  audit.close()
})

test('a disk that takes nothing harms nobody, is told once, and is tried again', () => {
  mkdirSync(path) // a directory in the way fails every open, for root as well
  const told: string[] = []
  const log: Log = { ...silentLog, error: (message) => void told.push(message) }
  const audit = open({}, log)
  for (let n = 0; n < 5; n++) audit.record(done(`peer-${n}`))
  expect(told).toEqual(['the audit log cannot be written'])
  expect(audit.read({ limit: 10 })).toHaveLength(5)
  rmdirSync(path)
  audit.record(done('peer-5'))
  expect(lines()).toMatchObject([{ seq: 6, subject: 'peer-5' }])
  audit.close()
})

test('a torn or foreign line is passed over', () => {
  const first = open()
  first.record(done('peer-1'))
  first.close()
  appendFileSync(path, '{"time":"2026-01-01T00:00:00.000Z","seq":2,"act\nnonsense\n{"seq":"x"}\n')
  const second = open()
  expect(second.read({ limit: 10 })).toHaveLength(1)
  second.close()
})

test('words from elsewhere are cut, and cannot move a terminal', () => {
  const audit = open()
  audit.record({ action: 'a connection', by: 'x\u009b31m\u202e', outcome: 'refused', reason: 'y'.repeat(5_000) })
  const text = readFileSync(refusedPath(), 'utf8')
  expect(text).not.toMatch(/[\u007f-\u009f\u202e]/)
  expect(text.length).toBeLessThan(2 * limits.auditTextLengthMax)
  audit.close()
})
