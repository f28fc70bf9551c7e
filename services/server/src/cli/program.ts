import { Command, Option } from 'commander'
import pkg from '../../package.json' with { type: 'json' }
import { addEnvFile, settleHome } from '../config.ts'
import { TARGETS } from '../targets.ts'
import { UsageError } from './errors.ts'
import { registerGc } from './gc.ts'
import { OPTIONS, type OptionName, type OptionSpec } from './options.ts'
import { start } from './start.ts'

/** Millrace's command line. Options have no defaults here: the services' configurations do. */
export function createProgram(exitNow: (signal: NodeJS.Signals) => void): Command {
  const program = new Command('millrace')
    .description('An MLflow tracking server')
    .version(`millrace, version ${pkg.version}`, '--version', 'show the version')
    .helpOption('--help', 'show this help')
    .helpCommand(false)
    .option('--env-file <path>', "variables from a dotenv file; the environment's own win")
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .hook('preAction', command => {
      useEnvFile(command.opts().envFile)
      settleHome()
    })
  for (const [name, target] of Object.entries(TARGETS)) {
    const command = program.command(name).summary(target.summary).description(target.summary).allowExcessArguments(false)
    for (const option of target.options) command.addOption(toOption(option))
    command.action(flags => start(name, target, flags, exitNow))
    if (name === 'server') command.alias('ui')
  }
  registerGc(program)
  return program
}

function toOption(name: OptionName): Option {
  const { flags, help, env }: OptionSpec = OPTIONS[name]
  const option = new Option(flags, env ? `${help} [env: ${env.join(', ')}]` : help)
  if ((OPTIONS[name] as OptionSpec).repeatable) option.argParser((value: string, before: string[] = []) => [...before, value])
  return option
}

function useEnvFile(path: string | undefined): void {
  if (path === undefined) return
  try {
    addEnvFile(path)
  } catch {
    throw new UsageError(`Invalid value for '--env-file': Environment file '${path}' does not exist.`)
  }
}
