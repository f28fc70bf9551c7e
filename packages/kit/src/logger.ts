import { redact } from './config.ts'

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
export const LOG_LEVELS: readonly LogLevel[] = LEVELS
export const LOG_FORMATS = ['text', 'json'] as const

export type LogLevel = (typeof LEVELS)[number]
export type LogFormat = (typeof LOG_FORMATS)[number]
export type LogFields = Readonly<Record<string, unknown>>

/** Writes one line per entry. Passwords and signatures in URLs are replaced; nothing else is, so no secret belongs in a field. */
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
}

export function createLogger(options: LoggerOptions = {}, always: LogFields = {}): Logger {
  const { level = 'info', format = 'text', write = line => void process.stderr.write(line) } = options
  const lowest = LEVELS.indexOf(level)
  const line = format === 'json' ? jsonLine : textLine
  const at = (name: LogLevel) =>
    LEVELS.indexOf(name) < lowest
      ? () => undefined
      : (message: string, fields?: LogFields) => write(`${redact(line(new Date(), name, message, { ...always, ...fields }))}\n`)
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    child: fields => createLogger(options, { ...always, ...fields }),
  }
}

function jsonLine(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  return JSON.stringify({ time, level, message, ...fields }, plain)
}

function textLine(time: Date, level: LogLevel, message: string, fields: LogFields): string {
  const rest = Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : ` ${name}=${JSON.stringify(value, plain)}`))
  return `${time.toISOString()} ${level.toUpperCase().padEnd(5)} ${message.replaceAll('\n', ' ')}${rest.join('')}`
}

function plain(_name: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (!(value instanceof Error)) return value
  return { name: value.name, message: value.message, stack: value.stack, cause: value.cause }
}
