import { destination, type Level, type Logger as Pino, pino, stdTimeFunctions } from 'pino'
import { LogRepeats } from './log-repeats.ts'
import { LogValues } from './log-values.ts'
import { redact } from './redact.ts'

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export const LOG_LEVELS: readonly LogLevel[] = LEVELS
export const LOG_FORMATS = ['text', 'json'] as const

export type LogLevel = (typeof LEVELS)[number]
export type LogFormat = (typeof LOG_FORMATS)[number]
type LogFields = Readonly<Record<string, unknown>>

/**
 * Writes one line per entry. Passwords and signatures in URLs are replaced; nothing else is, so no secret belongs in a field. Long texts
 * are cut. Of warnings and errors that repeat themselves the first few are written, then their number.
 */
export interface Logger {
  /** Whether entries of the level debug are written: for those that cost something to make. */
  readonly isDebug: boolean
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds `fields` to every entry. */
  child(fields: LogFields): Logger
}

export interface LoggerOptions {
  level?: LogLevel
  format?: LogFormat
  /** Takes one line that ends with a line feed; standard error by default. */
  write?: (line: string) => void
  /** After how long the repeats of a warning or an error are counted. */
  repeatIntervalMs?: number
}

export function createLogger({ level = 'info', format = 'text', write, repeatIntervalMs }: LoggerOptions = {}): Logger {
  const log = pino(
    {
      level,
      base: undefined,
      messageKey: 'message',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: label => ({ level: label }) },
      // `LogValues` has cut already.
      depthLimit: Number.MAX_SAFE_INTEGER,
      edgeLimit: Number.MAX_SAFE_INTEGER,
      hooks: { streamWrite: format === 'json' ? redact : line => redact(textLine(line)) },
    },
    // Synchronous, so that the last lines of a process that fails are written.
    write ? { write } : destination({ fd: process.stderr.fd, sync: true }),
  )
  return loggerWith(log, new LogRepeats(repeatIntervalMs), {})
}

function loggerWith(log: Pino, repeats: LogRepeats, always: LogFields): Logger {
  const entry = (level: Level, message: string, fields?: LogFields) => {
    if (!log.isLevelEnabled(level)) return
    const values = new LogValues()
    const text = values.text(message)
    log[level](values.object({ ...always, ...fields }), text)
  }
  const sampled = (level: Level, message: string, fields?: LogFields) => {
    const report = (count: number, seconds: number) =>
      entry(level, `${message} (and ${count.toLocaleString('en')} more like it in ${seconds} s)`, { like: firstError(fields) })
    if (log.isLevelEnabled(level) && repeats.admit(message, fields, report)) entry(level, message, fields)
  }
  return {
    isDebug: log.isLevelEnabled('debug'),
    debug: (message, fields) => entry('debug', message, fields),
    info: (message, fields) => entry('info', message, fields),
    warn: (message, fields) => sampled('warn', message, fields),
    error: (message, fields) => sampled('error', message, fields),
    child: fields => loggerWith(log, repeats, { ...always, ...fields }),
  }
}

/** What failed, without its stack. */
function firstError(fields: LogFields = {}): string | undefined {
  const found = Object.values(fields).find(one => one instanceof Error)
  return found && `${found.name}: ${found.message}`
}

/** A line of JSON for people. */
function textLine(json: string): string {
  const { time, level, message, ...fields } = JSON.parse(json)
  const start = `${time} ${level.toUpperCase().padEnd(5)} ${message.replaceAll('\n', ' ')}`
  return `${Object.entries(fields).reduce((line, [name, value]) => `${line} ${name}=${JSON.stringify(value)}`, start)}\n`
}
