import { sign as signWithKey } from 'node:crypto'
import { promisify } from 'node:util'
import { Storage } from '@google-cloud/storage'
import { type GoogleAuth, GoogleAuth as GoogleAuthClient, JWT, PassThroughClient } from 'google-auth-library'
import type { GcsClient, GcsRequest } from './client.ts'
import type { GcsConfig } from './config.ts'
import { gcsError } from './errors.ts'

/** What the SDK makes of a call, for either of its two ways to send. */
interface SdkRequest {
  method?: string
  uri?: string
  url?: string | URL
  qs?: GcsRequest['query']
  params?: GcsRequest['query']
  json?: unknown
  data?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal
}

const signAsync = promisify(signWithKey)

/**
 * The SDK makes the requests and reads the responses; `client` sends them. The SDK's own ways to send have no time limit, certificates or
 * signals that could be set, and hold whole responses of any length.
 * @param signing absent: nothing is signed.
 */
export function openStorage(config: GcsConfig, client: GcsClient, signing?: GoogleAuth): Storage {
  const auth = signing ?? new GoogleAuthClient({ authClient: new PassThroughClient() })
  const storage = new Storage({
    authClient: Object.assign(auth, signAs(auth)),
    apiEndpoint: config.endpoint,
    useAuthWithCustomEndpoint: true,
    retryOptions: { autoRetry: false },
  })
  // The SDK prefers an environment variable, whatever its options say.
  storage.baseUrl = `${config.endpoint}/storage/v1`
  const send = async (request: SdkRequest) => {
    const answer = await client.send(toGcsRequest(request))
    return { ...answer, data: answer.text && JSON.parse(answer.text) }
  }
  const makeRequest = (request: SdkRequest, done: (error: unknown, body?: unknown, response?: unknown) => void) => {
    send(request).then(answer => done(null, answer.data, answer), done)
  }
  storage.makeAuthenticatedRequest = Object.assign(makeRequest, storage.makeAuthenticatedRequest)
  // Sessions of uploads, and signatures of accounts whose key is with Google.
  auth.request = send as never
  return storage
}

function toGcsRequest({ method = 'GET', uri, url, qs, params, json, data, headers, signal }: SdkRequest): GcsRequest {
  const { autoPaginate: _, ...query } = qs ?? params ?? {}
  const content = json ?? data
  const fields = Object.fromEntries(new Headers(headers))
  if (content === undefined) return { method, url: String(uri ?? url), query, headers: fields, signal }
  const body = Buffer.from(JSON.stringify(content))
  return { method, url: String(uri ?? url), query, headers: { ...fields, 'content-type': 'application/json' }, body, signal }
}

/** Signs on other threads: 10,000 signatures, one for each part of an upload, would otherwise stop everything else for seconds. */
function signAs(auth: GoogleAuth): { sign: GoogleAuth['sign'] } {
  const sign = auth.sign.bind(auth)
  return {
    async sign(text, endpoint) {
      try {
        const client = await auth.getClient()
        if (!(client instanceof JWT && client.key)) return await sign(text, endpoint)
        return (await signAsync('RSA-SHA256', Buffer.from(text), client.key)).toString('base64')
      } catch (error) {
        throw new Error(gcsError(error, '').errorCode)
      }
    },
  }
}
