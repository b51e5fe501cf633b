/** What git says when it fails. */

/**
 * The line of git's stderr that tells why it failed, without its full stop: the first that begins with `fatal:` or
 * `error:`, else the last that is not empty.
 */
export const gitReason = (stderr: string): string | undefined => {
  const lines = stderr
    .split(/[\r\n]+/)
    .map((line) => line.trim())
    .filter((line) => line !== '')
  return (lines.find((line) => /^(?:fatal|error):/.test(line)) ?? lines.at(-1))?.replace(/\.+$/, '')
}
