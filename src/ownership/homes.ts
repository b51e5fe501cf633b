/** Where the records of an agent are kept: pure rendezvous hashing over the members that are up. */
import { rendezvous } from '../base/hash.ts'

/** The homes of an agent among `members`, best first. Any two nodes with the same view agree without talking. */
export const homesOf = (agent: string, members: Iterable<string>, count: number): string[] =>
  rendezvous(agent, members, count)
