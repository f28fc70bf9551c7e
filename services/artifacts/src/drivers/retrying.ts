import { setTimeout as sleep } from 'node:timers/promises'
import type { HttpCall } from './http-call.ts'
import { isTaken } from './streamed-body.ts'

const ATTEMPTS_MAX = 4
const FIRST_DELAY_MS = 200
const DELAY_MS_MAX = 10_000

interface RetryOptions {
  isTransient(error: unknown): boolean
  attemptsMax?: number
  /** Before the attempt after this one, unless the store says when. */
  delayMs?(attempt: number): number
  /** A body of which something was taken can't be sent again. */
  body?: HttpCall['body']
  signal?: AbortSignal
}

/** An error may say when the store wants to be called again. */
interface RetryAfter {
  retryAfterMs?: number
}

/** Repeats a call that failed for the moment, after twice the time each time. */
export async function retrying<T>(options: RetryOptions, action: (attempt: number) => Promise<T>): Promise<T> {
  const { isTransient, attemptsMax = ATTEMPTS_MAX, delayMs = backoffMs, body, signal } = options
  for (let attempt = 1; ; attempt++) {
    try {
      return await action(attempt)
    } catch (error) {
      if (attempt >= attemptsMax || signal?.aborted || isSpent(body) || !isTransient(error)) throw error
      const { retryAfterMs = 0 } = (error ?? {}) as RetryAfter
      await sleep(Math.min(Math.max(delayMs(attempt), retryAfterMs), DELAY_MS_MAX), undefined, { signal })
    }
  }
}

export const isSpent = (body: HttpCall['body']): boolean => body !== undefined && 'stream' in body && isTaken(body)

const backoffMs = (attempt: number) => FIRST_DELAY_MS * 2 ** (attempt - 1) * (0.5 + Math.random())

/** Milliseconds that a Retry-After header names, in seconds or as a date. Source: RFC 9110 section 10.2.3. */
export function retryAfterMs(header: string | undefined): number | undefined {
  if (header === undefined) return undefined
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now()
  return Number.isNaN(ms) ? undefined : Math.max(0, ms)
}
