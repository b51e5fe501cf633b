/** Asking before what cannot be undone easily. */
import { createInterface } from 'node:readline/promises'
import { GodelError } from '../base/errors.ts'
import { note } from './output.ts'

/** True where the person at the terminal agrees, or `yes` was given; INVALID_ARGUMENT where there is nobody to ask. */
export const confirmed = async (question: string, { yes = false }: { yes?: boolean | undefined }): Promise<boolean> => {
  if (yes) return true
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new GodelError({ code: 'INVALID_ARGUMENT', field: '--yes', reason: 'is needed where nobody can be asked' })
  note(question)
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question('Go on? [y/N] ')
    if (/^y(es)?$/i.test(answer.trim())) return true
    note('Nothing was changed.')
    return false
  } finally {
    terminal.close()
  }
}
