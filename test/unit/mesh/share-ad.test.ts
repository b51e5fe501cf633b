import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CapacitySchema, type Capacity } from '../../../src/base/advertisement.ts'
import { encode } from '../../../src/base/codec.ts'
import { createNodeKey } from '../../../src/identity/node-key.ts'
import { isPublicAddress, mayLeadOutside } from '../../../src/mesh/public-address.ts'
import { asAdvertisement, parseShareAd, projectionOf, sharedCapacity } from '../../../src/mesh/share-ad.ts'
import { traitsOf } from '../../support/mesh.ts'

describe('the shared part of the capacity', () => {
  test('is never more than its fraction, and never shows more free slots than there are', () => {
    const capacities = fc.record({
      status: fc.constantFrom<Capacity['status']>('available', 'busy', 'draining'),
      currentLoad: fc.double({ min: 0, max: 1, noNaN: true }),
      running: fc.nat(200),
      maxConcurrent: fc.nat(100),
    })
    expect(Object.keys(CapacitySchema.properties)).toHaveLength(4)
    fc.assert(
      fc.property(capacities, fc.double({ min: 0, max: 1, noNaN: true }), (capacity, fraction) => {
        const shared = sharedCapacity(capacity, fraction)
        const free = Math.max(0, capacity.maxConcurrent - capacity.running)
        expect(shared.maxConcurrent).toBe(Math.floor(capacity.maxConcurrent * fraction))
        expect(shared.maxConcurrent - shared.running).toBe(Math.min(free, shared.maxConcurrent))
        if (capacity.status === 'draining') expect(shared.status).toBe('draining')
        if (shared.running >= shared.maxConcurrent) expect(shared.status).not.toBe('available')
      }),
    )
  })
})

describe('the projection', () => {
  test('holds no label, whatever the labels are', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.stringMatching(/^k[a-z]{8}$/), fc.stringMatching(/^secret-[a-z]{8}$/)), (labels) => {
        const traits = traitsOf('a', { labels, shareable: true, shareFraction: 1 })
        const capacity = { status: 'available', currentLoad: 0, running: 0, maxConcurrent: 8 } as const
        const { peer } = createNodeKey()
        const rest = { realm: 'a'.repeat(64), peer, addresses: [], incarnation: 1, sequence: 1, ttlMs: 1, left: false }
        const ad = parseShareAd(projectionOf(traits, capacity, { ...rest, certificate: 'c' }))
        const bytes = Buffer.from(encode(ad)).toString('latin1')
        for (const [key, value] of Object.entries(labels))
          expect(bytes.includes(key) || bytes.includes(value)).toBe(false)
        expect(asAdvertisement(ad).labels).toEqual({})
      }),
    )
  })

  test('with a field more is refused', () => {
    const capacity = { status: 'available', currentLoad: 0, running: 0, maxConcurrent: 8 } as const
    const rest = {
      realm: 'a'.repeat(64),
      peer: createNodeKey().peer,
      addresses: [],
      incarnation: 1,
      sequence: 1,
      ttlMs: 1,
      left: false,
    }
    const ad = projectionOf(traitsOf('a'), capacity, { ...rest, certificate: 'c' })
    expect(() => parseShareAd({ ...ad, labels: {} })).toThrow('what a node shares')
  })
})

describe('an address', () => {
  test.each([
    ['/ip4/127.0.0.1/tcp/1', false],
    ['/ip4/10.1.2.3/tcp/1', false],
    ['/ip4/172.16.0.1/tcp/1', false],
    ['/ip4/172.32.0.1/tcp/1', true],
    ['/ip4/192.168.1.1/tcp/1', false],
    ['/ip4/169.254.1.1/tcp/1', false],
    ['/ip4/100.64.0.1/tcp/1', false],
    ['/ip4/100.128.0.1/tcp/1', true],
    ['/ip4/0.0.0.0/tcp/1', false],
    ['/ip4/239.1.1.1/tcp/1', false],
    ['/ip4/8.8.4.4/tcp/1', true],
    ['/ip6/::1/tcp/1', false],
    ['/ip6/fe80::1/tcp/1', false],
    ['/ip6/fd12:3456::1/tcp/1', false],
    ['/ip6/::ffff:10.0.0.1/tcp/1', false],
    ['/ip6/2001:db8::1/tcp/1', false],
    ['/ip6/2a01:4f8::1/tcp/1/ws', true],
    ['/dns4/node.example.org/tcp/1', true],
    ['/dns4/localhost/tcp/1', false],
    ['/dns/printer.local/tcp/1', false],
    ['/dns4/intranet/tcp/1', false],
    ['/ip4/8.8.4.4/tcp/1/p2p/12D3/p2p-circuit', false],
    ['/unix/tmp/x', false],
    ['', false],
  ])('%s is told outside: %s', (address, told) => {
    expect(isPublicAddress(address)).toBe(told)
  })

  test.each([
    ...['/ip4/8.8.4.4/tcp/1', '/ip4/10.1.2.3/tcp/1', '/ip4/192.168.1.1/tcp/1', '/ip6/fd12:3456::1/tcp/1'],
    ...['/ip6/2a01:4f8::1/tcp/1/ws', '/dns4/node.example.org/tcp/1', '/dns/gpu.lan/tcp/1', '/ip4/22.4.1.1/tcp/1'],
  ])('%s may be dialled at the word of a node outside', (address) => {
    expect(mayLeadOutside(address)).toBe(true)
  })

  test.each([
    ...['/ip4/127.0.0.1/tcp/7373', '/ip4/127.9.9.9/tcp/1', '/ip4/0.0.0.0/tcp/1', '/ip4/169.254.169.254/tcp/80'],
    ...['/ip4/224.0.0.1/tcp/1', '/ip4/255.255.255.255/tcp/1', '/ip6/::1/tcp/1', '/ip6/::/tcp/1', '/ip6/fe80::1/tcp/1'],
    ...['/ip6/::ffff:127.0.0.1/tcp/1', '/ip6/ff02::1/tcp/1', '/dns4/localhost/tcp/1', '/dns/metadata.internal/tcp/80'],
    ...['/ip6/0:0:0:0:0:0:0:1/tcp/1', '/ip4/8.8.4.4/tcp/1/p2p/12D3/p2p-circuit', '/unix/tmp/x', ''],
  ])('%s may not', (address) => {
    expect(mayLeadOutside(address)).toBe(false)
  })
})
