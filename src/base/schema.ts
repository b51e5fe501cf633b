/**
 * Schemas: one description gives the type, the check and the OpenAPI. `parse` is the only way in for data from a peer,
 * a file or a client. This file loads typebox (some 80 ms): commands that only need a type import it with `import type`.
 */
import { Type, type Static, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { GodelError } from './errors.ts'

/** Bytes on the wire, at most `bytesMax` of them. */
export const Bytes = (bytesMax: number) =>
  Type.Refine(
    Type.Unsafe<Uint8Array>({}),
    (value) => value instanceof Uint8Array && value.byteLength <= bytesMax,
    () => `must be bytes, at most ${bytesMax}`,
  )

/** A whole number from 0 that is exact in a double. */
export const Count = (maximum: number = Number.MAX_SAFE_INTEGER) => Type.Integer({ minimum: 0, maximum })

/** One of a few fixed words. */
export const OneOf = <const W extends readonly string[]>(words: W) =>
  Type.Unsafe<W[number]>({ type: 'string', enum: [...words] })

/** A check for one schema: gives the value back as its type, or throws INVALID_MESSAGE that names the first fault. */
export type Parse<T> = (value: unknown) => T

/** Compiles `schema` on first use. `what` names the thing in the error. */
export const parser = <S extends TSchema>(what: string, schema: S): Parse<Static<S>> => {
  let compiled: ReturnType<typeof Compile<S>> | undefined
  return (value) => {
    compiled ??= Compile(schema)
    if (compiled.Check(value)) return value as Static<S>
    throw new GodelError({ code: 'INVALID_MESSAGE', what, reason: firstFault(compiled.Errors(value)) })
  }
}

interface Fault {
  instancePath: string
  message: string
  keyword: string
}

/** The first fault in words that name the place: `/labels/x must be string`. */
export const firstFault = (faults: readonly Fault[]): string => {
  const fault = faults.find((f) => f.keyword !== 'boolean') ?? faults[0]
  if (fault === undefined) return 'does not match its schema'
  return `${fault.instancePath === '' ? 'it' : fault.instancePath} ${fault.message}`
}
