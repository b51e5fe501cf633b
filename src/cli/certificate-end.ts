/** The end of a node's certificate, which it renews by itself at half-life: being close to it means that renewing fails. */
import { limits } from '../base/limits.ts'
import { ageOf, printWarning, timeOf } from './output.ts'

const isClose = (expiresAtMs: number): boolean => expiresAtMs - Date.now() < limits.certificateTtlMs / 4

export const certificateEnd = (expiresAtMs: number): string =>
  `until ${timeOf(expiresAtMs)}` + (isClose(expiresAtMs) ? ' (close)' : '')

/** Says what to do while there is time. */
export const warnOfCertificate = (expiresAtMs: number | undefined): void => {
  if (expiresAtMs === undefined || !isClose(expiresAtMs)) return
  const left = expiresAtMs - Date.now()
  const when = left <= 0 ? 'has ended' : `ends in ${ageOf(left)}`
  printWarning(
    `the certificate of this node ${when} and could not be renewed: see that an issuer ("godel-node realm show") can be reached.`,
  )
}
