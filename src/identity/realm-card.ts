/**
 * Realm cards: `GDR1.` and what the operator of another realm needs to name this one: the chain of its documents, which proves
 * its id, and addresses of some of its nodes. A card holds nothing secret, and grants nothing: whoever has it knows the
 * realm, and is let in only where the realm names the other in turn. It is as trustworthy as the way by which it came.
 */
import { Type } from 'typebox'
import { GodelError, hasCode } from '../base/errors.ts'
import { limits } from '../base/limits.ts'
import { parser } from '../base/schema.ts'
import { SeedSchema, verifyChain, type Realm, type Seed } from './realm-document.ts'

const prefix = 'GDR1.'

const CardSchema = Type.Object(
  {
    chain: Type.Array(Type.String({ maxLength: 2 * limits.realmDocumentBytesMax }), {
      minItems: 1,
      maxItems: limits.realmDocumentChainMax,
    }),
    seeds: Type.Array(SeedSchema, { maxItems: limits.cardSeedsMax }),
  },
  { additionalProperties: false },
)
const parseCard = parser('a realm card', CardSchema)

export interface RealmCard {
  readonly realm: Realm
  readonly seeds: readonly Seed[]
}

/** The card of a realm. TOO_LARGE for a chain that does not fit, which verifyChain would not have let through. */
export const writeRealmCard = (realm: Realm, seeds: readonly Seed[]): string => {
  const content = JSON.stringify({ chain: realm.chain, seeds: seeds.slice(0, limits.cardSeedsMax) })
  const text = prefix + Buffer.from(content).toString('base64url')
  if (text.length <= limits.cardBytesMax) return text
  throw new GodelError({
    code: 'TOO_LARGE',
    what: 'the card of the realm',
    bytes: text.length,
    limitBytes: limits.cardBytesMax,
  })
}

/**
 * What a card says, once its chain was verified; the id of the realm is the hash of its first document. White space around it
 * is cut off. INVALID_ARGUMENT with a reason that a person can act on.
 */
export const readRealmCard = async (text: string): Promise<RealmCard> => {
  const card = text.length > 2 * limits.cardBytesMax ? text : text.trim()
  if (card.length > limits.cardBytesMax) throw invalid(`is longer than ${limits.cardBytesMax} bytes`)
  const fault = faultOfText(card)
  if (fault !== undefined) throw invalid(fault)
  try {
    const { chain, seeds } = parseCard(contentOf(card))
    return { realm: await verifyChain(chain), seeds }
  } catch (error) {
    if (!hasCode(error, 'INVALID_MESSAGE', 'REALM_DOCUMENT_INVALID')) throw error
    throw invalid(error.detail.reason, error)
  }
}

const contentOf = (card: string): unknown => {
  const body = card.slice(prefix.length)
  const bytes = Buffer.from(body, 'base64url')
  if (bytes.toString('base64url') !== body) throw invalid('holds characters that do not belong there, or is cut off')
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw invalid('does not decode; it may be cut off', error)
  }
}

/** The mistakes of copying and pasting, told apart so that a person can mend them. */
const faultOfText = (card: string): string | undefined => {
  if (card === '') return 'is empty'
  if (card.startsWith('GDL')) return 'is a join token, and a card begins with "GDR1."'
  if (!card.startsWith(prefix))
    return /^GDR\d+\./.test(card) ? 'is of another version' : `does not begin with "${prefix}"`
  return /\s/.test(card) ? 'has spaces or line breaks inside' : undefined
}

const invalid = (reason: string, cause?: unknown) =>
  new GodelError({ code: 'INVALID_ARGUMENT', field: 'card', reason }, { cause })
