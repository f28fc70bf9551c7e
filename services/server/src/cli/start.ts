import { type Env, type Flags, read } from '@millrace/kit/config'
import { createLogger, type Logger } from '@millrace/kit/logger'
import { checkProcess, processEnv, readProcess } from '../config.ts'
import { untilShutdown } from '../shutdown.ts'
import type { Target } from '../targets.ts'
import { OPTIONS, type OptionName, type OptionSpec } from './options.ts'
import { checkRegistry, checkUsage } from './usage.ts'

/** Runs a target until a signal asks it to stop and everything it accepted is finished. */
export async function start(name: string, target: Target, flags: Flags, exitNow: (signal: NodeJS.Signals) => void): Promise<void> {
  const env = processEnv()
  checkUsage(env, flags)
  if (target.options.includes('registryStoreUri')) checkRegistry(env, flags)
  const config = checkProcess(readProcess(env))
  const log = createLogger({ level: config.logLevel, format: config.logFormat })
  note(target, env, flags, log)
  const asked = untilShutdown(exitNow, failure => log.error('An error was not handled', { failure }))
  const opened = await target.open({ env, flags, log })
  process.stdout.write(`Listening at ${opened.url}\n`)
  log.info(`millrace ${name} is listening`, { url: opened.url, startedMs: Math.round(performance.now()) })
  const stop = await asked
  if ('failure' in stop) log.error('Stopping, as an error was not handled', stop)
  else log.info('Stopping', stop)
  await opened[Symbol.asyncDispose]()
  log.info('Stopped')
  if ('failure' in stop) throw new Error('An error was not handled', { cause: stop.failure })
}

/** Tells what was chosen for the operator, as MLflow does, and which options do nothing. */
function note(target: Target, env: Env, flags: Flags, log: Logger): void {
  const given = (name: OptionName) => read(env, flags, name, ...((OPTIONS[name] as OptionSpec).env ?? []))
  const takes = (name: OptionName) => target.options.includes(name)
  for (const name of target.options) {
    const { ignored } = OPTIONS[name] as OptionSpec
    const raw = ignored && given(name)
    if (raw) log.warn(`${raw.source} is ignored: ${ignored}`)
  }
  if (takes('backendStoreUri') && !given('backendStoreUri')) log.info('Backend store URI not provided. Using sqlite:///mlflow.db')
  if (takes('allowedHosts') && !['allowedHosts', 'corsAllowedOrigins', 'disableSecurityMiddleware'].some(one => given(one as OptionName))) {
    log.info(
      'Security checks have their default settings: pages and Host headers of this machine and private addresses only. ' +
        'To allow others, use --host 0.0.0.0 and configure --allowed-hosts and --cors-allowed-origins.',
    )
  }
}
