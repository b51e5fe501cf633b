/**
 * The chain that proves a realm document, as it is kept and as it travels: the genesis, every version that changes the set of
 * roots, and the newest. Each names by hash the change of roots before it (its `anchor`) and is signed by a root of that, so
 * nothing that matters to the proof can be left out or put in. What is given up: the versions in between are not shown, so
 * two of them that differ are noticed only while one is the newest somewhere.
 */

/** A version of a chain, once it was verified. */
export interface Link {
  readonly jws: string
  readonly hash: string
  readonly version: number
  readonly previous: string | null
  /** It names the change of roots before it; documents of an older program do not, and need the version before them shown. */
  readonly anchored: boolean
  readonly signer: string
  readonly roots: readonly string[]
  /** The genesis, or a version with other roots than the one before. */
  readonly changesRoots: boolean
}

/** The links without those that prove nothing about the others. */
export const compactLinks = (links: readonly Link[]): Link[] =>
  links.reduceRight<Link[]>((kept, link) => {
    if (link.changesRoots || kept.length === 0 || !kept[0]!.anchored) kept.unshift(link)
    return kept
  }, [])

/** Whether two chains of one realm cannot both be parts of one history, as far as they show it. */
export const contradict = (a: readonly Link[], b: readonly Link[]): boolean => {
  const both = Math.min(a.at(-1)!.version, b.at(-1)!.version)
  const changes = (links: readonly Link[]) =>
    links.flatMap(({ hash, version, changesRoots }) => (changesRoots && version <= both ? [hash] : [])).join()
  return changes(a) !== changes(b) || disagree(a, b) || disagree(b, a)
}

/** One version with two hashes, or a version that follows another than the one before it. */
const disagree = (a: readonly Link[], b: readonly Link[]): boolean => {
  const hashes = new Map(a.map(({ version, hash }) => [version, hash]))
  return b.some(({ version, hash, previous }) => {
    const [same = hash, before = previous] = [hashes.get(version), hashes.get(version - 1)]
    return same !== hash || before !== previous
  })
}

/** Whether `links` pass over a change of roots in `known` and go on by a root that this change took away. */
export const goesAround = (links: readonly Link[], known: readonly Link[]): boolean => {
  const told = new Set(links.map(({ hash }) => hash))
  const change = known.find(({ hash, changesRoots }) => changesRoots && !told.has(hash))
  if (!change || links.at(-1)!.version < change.version) return false
  const shared = new Set(known.map(({ hash }) => hash))
  const fork = links.slice(links.findLastIndex(({ hash }) => shared.has(hash)) + 1)
  const passing = fork.findIndex(({ version }) => version >= change.version)
  return fork.slice(0, passing + 1).some(({ signer }) => !change.roots.includes(signer))
}
