/** `realm invite`: a join token, as the line to type on the newcomer, or alone where no person reads it. */
import type { Command } from 'commander'
import { limits } from '../base/limits.ts'
import type { GodelClient } from '../client/client.ts'
import { clientOf, rootName, withCommon, type CommonOptions } from './command.ts'
import { clean, note, print, printJson, timeOf } from './output.ts'
import { count, duration, word } from './values.ts'

interface Options extends CommonOptions {
  uses?: number
  ttl?: number
  role?: 'admin' | 'member' | 'observer'
}

export const define = (command: Command): void => {
  withCommon(command, [
    ['realm invite', 'one host, within an hour'],
    ['realm invite > token', 'the token alone, for --join @token'],
    ['realm invite --uses 20 --ttl 2d', 'a whole rack'],
    ['realm invite --role admin', 'a host that acts on every agent; "realm promote" lets it invite'],
  ])
    .option('--uses <n>', 'how many hosts may join with it (1)', count('--uses', { min: 1, max: limits.tokenUsesMax }))
    .option(
      '--ttl <time>',
      'how long it holds: 90s, 30m, 1h, 2d (1h)',
      duration('--ttl', { max: limits.tokenTtlMsMax / 1_000 }),
    )
    .option('--role <role>', 'admin, member or observer (member)', word('--role', ['admin', 'member', 'observer']))
    .action(async (options: Options) => {
      const client = await clientOf(options)
      const { uses, ttl, role } = options
      const invitation = await client.realm.invite({
        ...(uses !== undefined && { uses }),
        ...(ttl !== undefined && { ttlSeconds: ttl }),
        ...(role !== undefined && { role }),
      })
      if (options.json) return printJson(invitation)
      const token = clean(invitation.token)
      print(process.stdout.isTTY ? await joinLine(client, rootName(command), token) : token)
      const hosts = invitation.uses === 1 ? 'one host' : `${invitation.uses} hosts`
      note(`For ${hosts} as ${invitation.role}, until ${timeOf(invitation.expiresAtMs)}.`)
    })
}

const joinLine = async (client: GodelClient, program: string, token: string): Promise<string> => {
  const { realm } = await client.identity()
  return `${program} start --realm ${clean(realm?.name ?? 'NAME')} --join ${token}`
}
