import { LogRepeats } from './log-repeats.ts'
import { LogValues } from './log-values.ts'
import { redact } from './redact.ts'

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export const LOG_LEVELS: readonly LogLevel[] = LEVELS
export const LOG_FORMATS = ['text', 'json'] as const

export type LogLevel = (typeof LEVELS)[number]
export type LogFormat = (typeof LOG_FORMATS)[number]
export type LogFields = Readonly<Record<string, unknown>>

/**
 * Writes one line per entry. Passwords and signatures in URLs are replaced; nothing else is, so no secret belongs in a field. Long texts
 * are cut. Of warnings and errors that repeat themselves the first few are written, then their number.
 */
export interface Logger {
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

export function createLogger(options: LoggerOptions = {}, always: LogFields = {}): Logger {
  return loggerWith(options, new LogRepeats(options.repeatIntervalMs), always)
}

function loggerWith(options: LoggerOptions, repeats: LogRepeats, always: LogFields): Logger {
  const { level = 'info', format = 'text', write = line => void process.stderr.write(line) } = options
  const lowest = LEVELS.indexOf(level)
  const line = format === 'json' ? jsonLine : textLine
  const entry = (name: LogLevel, message: string, fields?: LogFields) =>
    write(`${redact(line(new Date(), name, message, { ...always, ...fields }))}\n`)
  const at = (name: LogLevel) =>
    LEVELS.indexOf(name) < lowest ? () => undefined : (message: string, fields?: LogFields) => entry(name, message, fields)
  const sampledAt = (name: LogLevel) => {
    if (LEVELS.indexOf(name) < lowest) return () => undefined
    return (message: string, fields?: LogFields) => {
      const report = (count: number, seconds: number) =>
        entry(name, `${message} (and ${count.toLocaleString('en')} more like it in ${seconds} s)`, { like: firstError(fields) })
      if (repeats.admit(message, fields, report)) entry(name, message, fields)
    }
  }
  return {
    debug: at('debug'),
    info: at('info'),
    warn: sampledAt('warn'),
    error: sampledAt('error'),
    child: fields => loggerWith(options, repeats, { ...always, ...fields }),
  }
}

/** What failed, without its stack. */
function firstError(fields: LogFields = {}): string | undefined {
  const found = Object.values(fields).find(one => one instanceof Error)
  return found && `${found.name}: ${found.message}`
}

function jsonLine(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  const values = new LogValues()
  return JSON.stringify({ time, level, message: values.text(message), ...values.object(fields) })
}

function textLine(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  const values = new LogValues()
  const start = `${time.toISOString()} ${level.toUpperCase().padEnd(5)} ${values.text(message).replaceAll('\n', ' ')}`
  const shown = Object.entries(values.object(fields))
  return start + shown.flatMap(([name, value]) => (value === undefined ? [] : ` ${name}=${JSON.stringify(value)}`)).join('')
}
