import type { IncomingMessage } from 'node:http'
import { textOfAnswer } from '../connection.ts'
import type { AccessToken } from './token.ts'

/** The token in an answer of Entra ID or of a managed identity's endpoint. @throws an error with their code, without their text. */
export async function tokenOf(answer: IncomingMessage): Promise<AccessToken> {
  const text = await textOfAnswer(answer)
  const body = parse(text)
  const { access_token: token, expires_in: expiresIn, expires_on: expiresOn, error } = body
  if (answer.statusCode !== 200 || typeof token !== 'string') {
    throw new Error(`the token endpoint answered ${answer.statusCode} ${typeof error === 'string' ? error : ''}`.trimEnd())
  }
  const seconds = Number(expiresIn)
  const at = Number(expiresOn) * 1000
  return { token, expiresTime: Number.isFinite(seconds) && seconds > 0 ? Date.now() + seconds * 1000 : at || Date.now() }
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
