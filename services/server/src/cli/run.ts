import { ConfigError } from '@millrace/kit/config'
import { type Command, CommanderError } from 'commander'
import { isDone, UsageError, usageText } from './errors.ts'
import { createProgram } from './program.ts'

const EXIT_FAILED = 1
const EXIT_USAGE = 2

/**
 * Runs one command line to its end.
 * @param exitNow ends the process without waiting: called when a signal comes again while stopping.
 * @returns the exit code: 0 done, 1 failed, 2 used wrongly.
 */
export async function run(argv: readonly string[], exitNow: (signal: NodeJS.Signals) => void): Promise<number> {
  const program = createProgram(exitNow)
  try {
    await program.parseAsync(argv, { from: 'user' })
    return 0
  } catch (error) {
    if (isDone(error)) return 0
    const usage = usageProblem(error)
    if (usage !== undefined) {
      process.stderr.write(`${usageHead(program, argv)}\n\nError: ${usage}\n`)
      return EXIT_USAGE
    }
    for (const line of reasons(error)) process.stderr.write(`${line}\n`)
    return EXIT_FAILED
  }
}

function usageProblem(error: unknown): string | undefined {
  if (error instanceof CommanderError) return usageText(error)
  return error instanceof UsageError || error instanceof ConfigError ? error.message : undefined
}

function usageHead(program: Command, argv: readonly string[]): string {
  const command = program.commands.find(one => argv.includes(one.name()))
  const name = command ? `millrace ${command.name()}` : 'millrace'
  return `Usage: ${name} [OPTIONS]${command ? '' : ' COMMAND [ARGS]...'}\nTry '${name} --help' for help.`
}

function reasons(error: unknown): string[] {
  const lines: string[] = []
  for (let one = error; one !== undefined && lines.length < 5; one = one instanceof Error ? one.cause : undefined) {
    lines.push(`${lines.length ? '  because: ' : 'Error: '}${one instanceof Error ? one.message : String(one)}`)
  }
  return lines
}
