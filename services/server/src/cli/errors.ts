import { CommanderError } from 'commander'

/** Options and arguments that make no sense together: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

const PATTERNS: readonly (readonly [code: string, pattern: RegExp, text: (match: RegExpExecArray) => string])[] = [
  ['commander.unknownOption', /'(--[^'=]+)=/, m => `Option '${m[1]}' does not take a value.`],
  ['commander.unknownOption', /unknown option '([^']*)'/, m => `No such option '${m[1]}'.`],
  ['commander.unknownCommand', /unknown command '([^']*)'/, m => `No such command '${m[1]}'.`],
  ['commander.optionMissingArgument', /option '(?:-\w, )?(--[\w-]+)/, m => `Option '${m[1]}' requires an argument.`],
  ['commander.excessArguments', /got \d+: (.*)\.$/, m => unexpected(m[1]?.split(', ') ?? [])],
  ['commander.missingArgument', /argument '([^']*)'/, m => `Missing argument '${m[1]?.toUpperCase()}'.`],
]

const unexpected = (words: readonly string[]) => `Got unexpected extra argument${words.length > 1 ? 's' : ''} (${words.join(' ')})`

/** A commander error in the words of MLflow's command line. */
export function usageText(error: CommanderError): string {
  for (const [code, pattern, text] of PATTERNS) {
    const match = error.code === code && pattern.exec(error.message)
    if (match) return text(match)
  }
  return error.message.replace(/^error: /, '')
}

/** Whether commander stopped because it had printed what was asked for: help or the version. */
export const isDone = (error: unknown): boolean =>
  error instanceof CommanderError && (error.exitCode === 0 || error.code === 'commander.help')
