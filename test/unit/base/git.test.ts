/** The line of git's that tells why it failed. */
import { expect, test } from 'vitest'
import { gitReason } from '../../../src/base/git.ts'

test.each([
  [
    'Cloning into x...\nfatal: no such thing.\n\nPlease make sure\nand the repository exists.\n',
    'fatal: no such thing',
  ],
  ['warning: a\nerror: b\nfatal: c\n', 'error: b'],
  ['one\rtwo.\n\n', 'two'],
  ['\n', undefined],
])('of %j it is %j', (stderr, reason) => {
  expect(gitReason(stderr)).toBe(reason)
})
