import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSandbox, probeIsolation } from '../../../src/agents/sandbox.ts'
import { hostMounts, hostPath } from '../../../src/agents/sandbox-mounts.ts'
import { createExecRig, probedLevels, type ExecRig } from '../../support/exec-rig.ts'

const levels = await probedLevels()
let rig: ExecRig
beforeAll(async () => {
  rig = await createExecRig()
})
afterAll(() => rig.close())

const inside = async (script: string): Promise<string> => {
  const { stdout, stderr } = await rig.sh('bwrap', `exec 2>&1\n${script}`)
  return `${stdout.toString()}${stderr.toString()}`.trim()
}

it('the probe says what it found', async () => {
  const probe = await probeIsolation()
  expect(probe.level === 'bwrap' ? probe.version : probe.reason).toMatch(/\S/)
})

it('the probe gives the reason where there is no bwrap', async () => {
  const before = process.env['PATH']
  process.env['PATH'] = '/nonexistent'
  try {
    expect(await probeIsolation()).toMatchObject({ level: 'none', reason: expect.stringContaining('bwrap') as string })
  } finally {
    process.env['PATH'] = before
  }
})

it('without a sandbox the fixed paths still mean the directories of the agent', () => {
  const dirs = { workspace: '/d/w', home: '/d/h' }
  expect(hostPath(dirs, '.')).toBe('/d/w')
  expect(hostPath(dirs, 'a/b')).toBe('/d/w/a/b')
  expect(hostPath(dirs, '/workspace/a')).toBe('/d/w/a')
  expect(hostPath(dirs, '/agent')).toBe('/d/h')
  expect(hostPath(dirs, '/workspaces')).toBe('/workspaces')
})

it('keeps the data directory out of sight inside an exposed tree', () => {
  expect(hostMounts(['/usr/share/godel-data']).options.join(' ')).toContain('--tmpfs /usr/share/godel-data')
  expect(hostMounts(['/var/lib/godel']).options.join(' ')).not.toContain('/var/lib/godel')
})

it('keeps the environment of a command out of the argument list and out of the environment of bwrap', () => {
  const launch = createSandbox('bwrap').launch({
    agent: rig.agent,
    ...rig.dirs,
    command: 'true',
    args: [],
    env: { LD_PRELOAD: '/workspace/evil.so', TOKEN: 'very-secret' },
    marks: { GODEL_NODE: 'm' },
  })
  expect(JSON.stringify(launch.args)).not.toContain('very-secret')
  expect(Object.keys(launch.env).sort()).toEqual(['GODEL_NODE', 'PATH'])
})

describe.runIf(levels.includes('bwrap'))('inside bwrap', () => {
  it('there is the workspace, the home, the system, and nothing else of the host', async () => {
    expect((await inside('ls /')).split('\n').sort()).toEqual(
      expect.arrayContaining(['agent', 'bin', 'dev', 'etc', 'proc', 'tmp', 'usr', 'workspace']),
    )
    for (const hidden of [
      '/root/.bashrc',
      '/sys',
      '/srv',
      '/boot',
      '/mnt',
      '/home',
      rig.dataDir,
      process.cwd() + '/src',
    ])
      expect(await inside(`ls ${hidden}`)).toMatch(/No such file/)
    expect(await inside('ls -A /tmp /run /var/tmp /agent | tr -d "\\n"')).toBe('/agent:/run:/tmp:/var/tmp:')
    expect(await inside('cat /etc/shadow')).toMatch(/No such file/)
  })

  it('neither the host’s temporary files nor another agent’s workspace can be seen', async () => {
    const secret = mkdtempSync(path.join(tmpdir(), 'godel-secret-'))
    writeFileSync(path.join(secret, 'file'), 'hidden')
    const other = await rig.dirsOf('ag_0192f0c1-2345-7abc-8def-0123456789ff')
    writeFileSync(path.join(other.workspace, 'file'), 'hidden')
    for (const dir of [secret, other.workspace, path.join('..', '..', path.basename(other.root), 'workspace')])
      expect(await inside(`cat ${dir}/file`)).toMatch(/No such file/)
    rmSync(secret, { recursive: true })
  })

  it('links and parent directories lead nowhere else', async () => {
    expect(
      await inside(`ln -sfn ${rig.dataDir} out; ls out/; cat ../../../../../root/.bashrc; ls /proc/1/root/`),
    ).not.toMatch(/node\.mark|bashrc:\n/)
    expect(await inside('cd ..; cd ..; pwd')).toBe('/')
  })

  it('only its own processes can be seen or signalled', async () => {
    expect(await inside('ls /proc | grep -c "^[0-9]"')).toMatch(/^[1-9]$/)
    expect(await inside(`kill -0 ${process.pid} || echo no`)).toMatch(/no$/)
    expect(await inside('readlink /proc/self/ns/pid')).not.toBe(
      readFileSync('/proc/self/stat') && (await hostNamespace()),
    )
  })

  it('the system cannot be written', async () => {
    for (const file of ['/x', '/usr/x', '/bin/x', '/etc/x', '/proc/sys/x', '/etc/passwd', '/usr/bin/env'])
      expect(await inside(`echo x >> ${file}`)).toMatch(/Read-only|denied|cannot create|nonexistent/i)
  })

  it('there is no capability, and none to be had', async () => {
    expect(await inside('grep -h "^Cap\\(Eff\\|Prm\\|Bnd\\)" /proc/self/status')).toMatch(/^(Cap\w+:\s+0+\s*)+$/)
    expect(await inside('mount -o remount,rw /usr; umount /tmp; touch /usr/x')).toMatch(/Read-only/)
    expect(await inside('unshare -Ur sh -c "mount -o remount,rw,bind /usr; touch /usr/x"')).toMatch(
      /Read-only|not permitted|denied/,
    )
  })

  it('settings of the kernel cannot be written, also where the node runs as root', async () => {
    for (const file of ['/proc/sys/kernel/core_pattern', '/proc/sys/vm/swappiness'])
      expect(await inside(`v=$(cat ${file}); (echo "$v" > ${file}) && echo WRITTEN`)).not.toContain('WRITTEN')
  })

  it('no descriptor of the node is open', async () => {
    // One that was handed down to the node itself, as terminals and supervisors do, and that is not closed on exec.
    const node = spawn(
      process.execPath,
      [fileURLToPath(new URL('../../support/leaky-node.ts', import.meta.url)), ...levels],
      {
        stdio: ['ignore', 'pipe', 'inherit', ...Array.from({ length: 57 }, () => null), openSync('/usr', 'r')],
      },
    )
    const said = await text(node.stdout!)
    expect(said.trim().split('\n').length).toBeGreaterThanOrEqual(4 * levels.length)
    for (const line of said.trim().split('\n'))
      expect(line).toMatch(/^\d+ -> (socket:|pipe:|\/dev\/null$|\/proc\/\d+\/fd$|.*\/pipes\/\d+ \(deleted\)$)/)
  })

  it('the user has a name, and what it writes belongs to the user of the node, who can remove it', async () => {
    expect(await inside('whoami; id -u; id -g; cd ~; pwd')).toBe('agent\n1000\n1000\n/agent')
    await inside('mkdir -p locked/deep; touch locked/deep/file; chmod 0 locked/deep; chmod 500 locked')
    expect(statSync(path.join(rig.dirs.workspace, 'locked')).uid).toBe(userInfo().uid)
  })

  it('temporary files are its own and gone with it', async () => {
    expect(await inside('echo x > /tmp/a && cat /tmp/a')).toBe('x')
    expect(await inside('cat /tmp/a')).toMatch(/No such file/)
  })

  it('the workspace and the home stay', async () => {
    await inside('echo kept > /workspace/kept; echo kept > ~/kept')
    expect(await inside('cat kept ~/kept')).toBe('kept\nkept')
    expect(readFileSync(path.join(rig.dirs.home, 'kept'), 'utf8')).toBe('kept\n')
  })

  it('node and npm work where the host has them', async () => {
    expect(await inside('node -p "require(\'os\').userInfo().username + process.version"')).toMatch(/^agentv\d+/)
    mkdirSync(path.join(rig.dirs.workspace, 'project'), { recursive: true })
    writeFileSync(
      path.join(rig.dirs.workspace, 'project', 'package.json'),
      '{"scripts":{"test":"echo tested by $(whoami)"}}',
    )
    const { stdout, stderr, exit } = await rig.sh(
      'bwrap',
      'command -v npm >/dev/null || { echo no npm; exit 0; }; npm test --silent',
      { cwd: 'project' },
    )
    expect([exit.code, stderr.toString()]).toEqual([0, ''])
    expect(stdout.toString().trim()).toMatch(/^(tested by agent|no npm)$/)
  })

  it('make works where the host has it', async () => {
    writeFileSync(path.join(rig.dirs.workspace, 'Makefile'), 'all:\n\t@echo made\n')
    expect(await inside('command -v make >/dev/null || { echo made; exit; }; make')).toBe('made')
  })

  it('the network is that of the host, names are resolved', async () => {
    const server = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    expect(await inside(`node -e "fetch('http://localhost:${port}').then(r => r.text()).then(console.log)"`)).toBe(
      'hello',
    )
    expect(await inside('cat /etc/resolv.conf')).toBe(readFileSync('/etc/resolv.conf', 'utf8').trim())
    server.close()
  })
})

const hostNamespace = async (): Promise<string> =>
  (await rig.sh('none', 'readlink /proc/self/ns/pid')).stdout.toString().trim()
