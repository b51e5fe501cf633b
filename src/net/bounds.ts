/**
 * Who may connect at all, before it has shown anything: strangers may take so many connections together and from one
 * address, and no peer more than some, so that there is always room for the members of the realm.
 */
import type { Connection, ConnectionGater } from '@libp2p/interface'
import type { Limits } from '../base/limits.ts'
import { ipOfDirect, plainIp } from './addresses.ts'

export interface BoundsDeps {
  readonly limits: Pick<Limits, 'strangersMax' | 'strangersPerAddressMax' | 'connectionsPerPeerMax'>
  isAdmitted(peer: string): boolean
  all(): Connection[]
}

export const createBounds = ({ limits, isAdmitted, all }: BoundsDeps): ConnectionGater => {
  const ipOf = (address: { toString(): string }) => plainIp(ipOfDirect(address.toString()) ?? '')
  return {
    denyInboundEncryptedConnection(peerId, { remoteAddr }) {
      const peer = peerId.toString()
      const open = all()
      if (open.filter((each) => each.remotePeer.toString() === peer).length >= limits.connectionsPerPeerMax) return true
      if (isAdmitted(peer)) return false
      const strangers = open.filter(({ remotePeer }) => !isAdmitted(remotePeer.toString()))
      if (strangers.length >= limits.strangersMax) return true
      const ip = ipOf(remoteAddr)
      return strangers.filter((each) => ipOf(each.remoteAddr) === ip).length >= limits.strangersPerAddressMax
    },
  }
}
