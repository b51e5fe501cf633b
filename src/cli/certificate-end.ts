/** The end of a node's certificate. It renews by itself at half-life: being close to the end means that renewing fails. */
import { limits } from '../base/limits.ts'
import { timeOf } from './output.ts'

export const certificateEnd = (expiresAtMs: number): string =>
  `until ${timeOf(expiresAtMs)}${expiresAtMs - Date.now() < limits.certificateTtlMs / 4 ? ' (close)' : ''}`
