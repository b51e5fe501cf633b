/** Which addresses may be told outside the realm, those that mean the same node to everybody, and which are dialled at its word. Pure. */

/** IPv4 networks that are of one host, one site or nobody (RFC 1122, 1918, 3927, 6598, 5737, 2544, 5771, 1112). */
const internal4 = [
  ...['0.', '10.', '127.', '169.254.', '192.168.', '192.0.0.', '192.0.2.', '198.51.100.', '203.0.113.'],
]

const isPublic4 = (ip: string): boolean => {
  const [a = 0, b = 0] = ip.split('.').map(Number)
  if (internal4.some((prefix) => ip.startsWith(prefix))) return false
  if (a === 172 && b >= 16 && b < 32) return false
  if (a === 100 && b >= 64 && b < 128) return false
  if (a === 198 && (b === 18 || b === 19)) return false
  return a < 224
}

/** Of IPv6 only 2000::/3 is routed, less the part for documentation, and less what wraps an IPv4 address. */
const isPublic6 = (ip: string): boolean => /^[23][0-9a-f]{3}:/i.test(ip) && !/^(2001:0?db8:|2002:|2001:0?:)/i.test(ip)

/** A name says nothing of where it leads, so only those that are clearly of one site are left out. */
const isPublicName = (name: string): boolean =>
  name.includes('.') && !/(^|\.)(localhost|local|internal|lan|home\.arpa|intranet|corp|home)\.?$/i.test(name)

/** A circuit names the node that relays, which may not want to be known outside; it is told to nobody there. */
export const isPublicAddress = (multiaddr: string): boolean => {
  const [, protocol = '', value = ''] = multiaddr.split('/')
  if (multiaddr.includes('/p2p-circuit')) return false
  if (protocol === 'ip4') return isPublic4(value)
  if (protocol === 'ip6') return isPublic6(value)
  return ['dns', 'dns4', 'dns6', 'dnsaddr'].includes(protocol) && isPublicName(value)
}

const leadsHome4 = /^(0|127|169\.254|22[4-9]|23\d|24\d|25[0-5])\./
const leadsHome6 = /^(::|0+:|fe[89ab][0-9a-f]:|ff[0-9a-f]{2}:)/i

/**
 * Whether an address that a node outside the realm names may be dialled. Operators of one site announce private ones, so
 * those may; what leads to this very host, to its link (where the metadata of clouds is) or through a relay may not.
 */
export const mayLeadOutside = (multiaddr: string): boolean => {
  const [, protocol = '', value = ''] = multiaddr.split('/')
  if (multiaddr.includes('/p2p-circuit')) return false
  if (protocol === 'ip4') return !leadsHome4.test(value)
  if (protocol === 'ip6') return !leadsHome6.test(value)
  return ['dns', 'dns4', 'dns6', 'dnsaddr'].includes(protocol) && !/(^|\.)(localhost|internal)\.?$/i.test(value)
}
