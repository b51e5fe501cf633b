/**
 * What follows at once when the realm puts somebody out, by a newer document or by an entry of an issuer: its connections end
 * (with every call and stream on them), its words leave the view, and whoever lent it something is told. Nothing of it
 * comes in again, since everything that comes in is judged by its certificate.
 */
import { GodelError, hasCode, reasonOf } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Realm } from '../identity/realm-document.ts'
import type { Certificates } from './certificates.ts'
import type { Member } from './membership.ts'
import type { Trust } from './trust.ts'
import type { MeshView } from './view.ts'

export interface Expulsion {
  /** A peer of the realm has been put out. */
  onRevoked(fn: (peer: string) => void): () => void
  close(): void
}

export const startExpulsion = (deps: {
  self: string
  member: Member
  view: MeshView
  certificates: Certificates
  trust: Trust
  log: Log
}): Expulsion => {
  const { self, member, view, certificates, trust, log } = deps
  const listeners = new Set<(peer: string) => void>()

  const putOut = (peer: string, error: unknown): void => {
    trust.expel(peer, error)
    view.forget(peer)
    view.disown(peer)
    for (const listener of listeners) listener(peer)
  }

  const revoked = (now: Realm, before: Realm): void => {
    for (const { peer, by } of now.revoked.values()) {
      if (before.revoked.has(peer)) continue
      const error = new GodelError({
        code: 'CERTIFICATE_INVALID',
        peer,
        reason: `the peer has been revoked (by ${by})`,
      })
      if (peer === self) log.error('this node has been revoked: no member talks to it any more', { by })
      else putOut(peer, error)
    }
  }

  /** Those that are out with the issuer of their certificate. */
  const voided = async (): Promise<void> => {
    for (const { peer, ad } of view.records()) {
      if (peer === self || certificates.peek(ad.certificate)) continue
      try {
        await certificates.verify(ad.certificate, peer)
      } catch (error) {
        if (hasCode(error, 'CERTIFICATE_INVALID')) putOut(peer, error)
      }
    }
    await trust.sweep()
  }

  const off = member.onChange((now, before) => {
    revoked(now, before)
    voided().catch((error: unknown) => log.warn('judging the peers anew failed', { error: reasonOf(error) }))
  })
  return {
    onRevoked(fn) {
      listeners.add(fn)
      return () => void listeners.delete(fn)
    },
    close: off,
  }
}
