import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { limits as defaults } from '../../../src/base/limits.ts'
import { createUploads } from '../../../src/agents/uploads.ts'
import { wallClock } from '../../support/exec-rig.ts'
import { streamOf } from '../../support/tar-files.ts'

const dataDir = mkdtempSync(path.join(tmpdir(), 'godel-uploads-'))
afterAll(() => rmSync(dataDir, { recursive: true }))

describe('an upload', () => {
  const uploadsOf = (limits: Record<string, number> = {}) =>
    createUploads({ clock: wallClock, limits: { ...defaults, ...limits } }, { dataDir })
  const files = () => readdirSync(path.join(dataDir, 'uploads'))

  it('is given back as it came, until it is removed', async () => {
    const uploads = uploadsOf()
    const { upload, bytes } = await uploads.receive(streamOf(Buffer.from('abc'), Buffer.alloc(300_000, 'x')))
    expect(upload).toMatch(/^up_/)
    expect(bytes).toBe(300_003)
    const parts: Uint8Array[] = []
    for await (const part of uploads.open(upload)) parts.push(part)
    expect(Buffer.concat(parts).equals(Buffer.concat([Buffer.from('abc'), Buffer.alloc(300_000, 'x')]))).toBe(true)
    await uploads.remove(upload)
    await expect(uploads.open(upload)[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('is bounded in bytes and in number', async () => {
    const uploads = uploadsOf({ workspaceBytesMax: 10, workspaceUploadsMax: 2 })
    await expect(uploads.receive(streamOf(Buffer.alloc(11)))).rejects.toMatchObject({ code: 'TOO_LARGE' })
    expect(files()).toEqual([])
    const kept = await Promise.allSettled([1, 2, 3].map(() => uploads.receive(streamOf(Buffer.alloc(1)))))
    expect(kept.filter((result) => result.status === 'fulfilled').length).toBeLessThanOrEqual(2)
    expect(files().length).toBeLessThanOrEqual(2)
    for (const result of kept) if (result.status === 'fulfilled') await uploads.remove(result.value.upload)
  })

  it('that breaks off leaves nothing', async () => {
    async function* broken() {
      yield Buffer.from('half')
      throw new Error('gone')
    }
    await expect(uploadsOf().receive(broken())).rejects.toThrow('gone')
    expect(files()).toEqual([])
  })

  it('that nobody fetched is removed in time', async () => {
    const uploads = uploadsOf()
    await uploads.receive(streamOf(Buffer.from('x')))
    writeFileSync(path.join(dataDir, 'uploads', 'up_x.part'), 'half, of an earlier run')
    await uploads.sweep()
    expect(files().length).toBe(1)
    await uploadsOf({ workspaceUploadTtlMs: -1 }).sweep()
    expect(files()).toEqual([])
  })

  it.each(['../api', 'up_x', ''])('named %j is no upload', async (name) => {
    await expect(uploadsOf().open(name)[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
