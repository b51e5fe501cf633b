/** One validator for all that comes in: the schemas of the routes, compiled by typebox, with the faulty field named. */
import { Compile } from 'typebox/compile'
import type { TSchema } from 'typebox'
import type { FastifySchemaCompiler } from 'fastify'
import { GodelError } from '../base/errors.ts'
import { idPattern } from '../base/ids.ts'
import { firstFault } from '../base/schema.ts'

interface Fault {
  keyword: string
  instancePath: string
  message: string
  params?: unknown
}

/** Validates body, parameters and query. Nothing is coerced but the text of a query, which has no types of its own. */
export const compileValidator: FastifySchemaCompiler<TSchema> = ({ schema, httpPart }) => {
  const compiled = Compile(schema)
  return (value: unknown) => {
    const given = httpPart === 'querystring' ? readQuery(schema, value) : value
    if (compiled.Check(given)) return { value: given }
    const cause = invalid(httpPart ?? 'body', compiled.Errors(given))
    // Fastify writes members into this error, and a GodelError is not to be written into.
    return { error: new Error(cause.message, { cause }) }
  }
}

const invalid = (part: string, faults: readonly Fault[]): GodelError => {
  const { field, reason } = describeFault(faults)
  return new GodelError({ code: 'INVALID_ARGUMENT', field: field || part, reason })
}

/** What is wrong with an id, in the words of a person, by the pattern that it lacks. */
const idReasons = new Map([
  [idPattern('ag'), 'is not an agent id such as ag_0192...'],
  [idPattern('ex'), 'is not the id of a command such as ex_0192...'],
  [idPattern('up'), 'is not the id of an upload such as up_0192...'],
])

/** The field as a caller writes it (`labels.task`) and what is wrong with it. */
const describeFault = (faults: readonly Fault[]): { field: string; reason: string } => {
  // Of alternatives that all fail, none is the one that was meant.
  const alternatives = faults.find((fault) => fault.keyword === 'anyOf')
  if (alternatives !== undefined)
    return { field: dotted(alternatives.instancePath), reason: 'has none of the forms that are taken' }
  const fault = faults.find((entry) => entry.keyword !== 'boolean') ?? faults[0]
  if (fault === undefined) return { field: '', reason: 'does not match its schema' }
  const params = (fault.params ?? {}) as {
    additionalProperties?: string[]
    requiredProperties?: string[]
    allowedValues?: unknown[]
    pattern?: unknown
  }
  const inside = (name: string | undefined) => dotted(`${fault.instancePath}/${name ?? ''}`)
  if (fault.keyword === 'additionalProperties')
    return { field: inside(params.additionalProperties?.[0]), reason: 'is not known here' }
  if (fault.keyword === 'required') return { field: inside(params.requiredProperties?.[0]), reason: 'is missing' }
  if (fault.keyword === 'enum')
    return { field: dotted(fault.instancePath), reason: `must be one of ${params.allowedValues?.join(', ')}` }
  const idReason = fault.keyword === 'pattern' ? idReasons.get(String(params.pattern)) : undefined
  if (idReason !== undefined) return { field: dotted(fault.instancePath), reason: idReason }
  return { field: dotted(fault.instancePath), reason: firstFault([{ ...fault, instancePath: '' }]).replace(/^it /, '') }
}

const dotted = (path: string): string =>
  path
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .join('.')

interface PropertySchema {
  type?: string
}

/** The text of a query in the types that its schema names. What does not read as its type stays text, and is refused. */
const readQuery = (schema: TSchema, query: unknown): unknown => {
  const properties = (schema as { properties?: Record<string, PropertySchema> }).properties ?? {}
  const entries = Object.entries((query ?? {}) as Record<string, unknown>)
  return Object.fromEntries(entries.map(([name, value]) => [name, readValue(properties[name]?.type, value)]))
}

const readValue = (type: string | undefined, value: unknown): unknown => {
  if (type === 'array') return Array.isArray(value) ? value : [value]
  if (type === 'boolean' && (value === 'true' || value === 'false')) return value === 'true'
  if (type === 'integer' && typeof value === 'string' && /^\d{1,15}$/.test(value)) return Number(value)
  return value
}
