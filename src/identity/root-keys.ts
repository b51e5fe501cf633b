/**
 * The root key of a realm in a data directory, and the exchange of it. The new key is on disk beside the old one before the
 * document names it, and takes its place only afterwards; whichever of the two files the document names is the root, so a
 * crash at any step leaves the realm with one that can be used.
 */
import { loadKey, loadOrCreateKey, type NodeKey } from './node-key.ts'
import { rootName } from './realm-document.ts'
import { replacePrivateFile } from './secret-file.ts'

export interface RootKeys {
  /** The key here that is one of `roots`; undefined where there is none. Makes none. KEY_FILE_INSECURE, KEY_FILE_INVALID. */
  held(roots: readonly string[]): Promise<NodeKey | undefined>
  /** A key that is to become a root, on disk when this resolves; the same one until it is adopted. */
  prepare(): Promise<NodeKey>
  /** Puts the prepared key in the place of the present one, which is then gone. For after the document names it. */
  adopt(): Promise<void>
}

/** `path` is the file of the present key; the prepared one is beside it. */
export const createRootKeys = (path: string): RootKeys => {
  const nextPath = `${path}.next`
  const adopt = () => replacePrivateFile(nextPath, path)
  return {
    async held(roots) {
      const present = await loadKey(path)
      if (present && roots.includes(rootName(present))) return present
      const next = await loadKey(nextPath)
      if (!next || !roots.includes(rootName(next))) return undefined
      await adopt() // a crash came between the document and this
      return next
    },
    prepare: () => loadOrCreateKey(nextPath),
    adopt,
  }
}
