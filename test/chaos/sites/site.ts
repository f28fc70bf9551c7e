import type { Canned, CannedRule } from '../../services/answering.ts'
import type { Killable } from '../../services/process.ts'
import type { Toxics } from '../../services/toxic.ts'

/** A store on a real server behind a network that can be made bad. */
export interface Site extends AsyncDisposable {
  /** What a server that uses the store is started with. */
  readonly destination: string
  readonly env: Record<string, string>
  readonly network: Network
  /** The server itself. */
  readonly server: Killable
  /** Everything that the store itself knows to be there, past the network: names of objects, and of uploads in progress. */
  contents(): Promise<string[]>
  /** Whether an upload that failed while the store was out of reach may leave its hidden file. */
  readonly keepsHidden?: boolean
  /** Settings with which the store refuses the server. */
  readonly refusals: readonly Refusal[]
  /** Of stores whose protocol tells what they can't do now. */
  readonly api?: Api
  /** Of stores that clients send parts to. */
  readonly parts?: StoreParts
}

interface StoreParts {
  /** Where clients reach the store, past the network. */
  readonly endpoint: string
  /** With which a server sends them there. */
  readonly env: Record<string, string>
  /** Names of what the store shows. */
  objects(): Promise<string[]>
  /** The next request to make an object of its parts gets lost, or the answer to it. Resolves when that has happened. */
  loseJoin(what: 'request' | 'answer'): Promise<void>
}

interface Network {
  set(toxics: Toxics): Promise<void>
}

interface Refusal {
  name: string
  destination?: string
  env?: Record<string, string>
  status: number
  errorCode: string
  /** What no answer and no line of a log may show. */
  secrets: readonly string[]
}

interface Api {
  /** Answers in the place of the store. */
  set(rule?: CannedRule): void
  /** What the store may answer to any request, and what a client is told then. */
  readonly answers: readonly ApiAnswer[]
}

export interface ApiAnswer {
  name: string
  answer: Canned
  status: number
  errorCode: string
  /** Whether the server asks once more by itself. */
  isRepeated: boolean
}

export const BUSY = { status: 503, errorCode: 'TEMPORARILY_UNAVAILABLE' }
export const UNAUTHENTICATED = { status: 401, errorCode: 'UNAUTHENTICATED' }
export const DENIED = { status: 403, errorCode: 'PERMISSION_DENIED' }

/** The site with a server that has no room to hold bodies in. */
export function passingThrough(open: () => Promise<Site>): () => Promise<Site> {
  return async () => {
    const site = await open()
    return { ...site, env: { ...site.env, MILLRACE_ARTIFACT_HELD_BYTES_MAX: '0' } }
  }
}
