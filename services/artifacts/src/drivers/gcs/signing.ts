import { createHash } from 'node:crypto'
import type { Presigned } from '../../driver.ts'
import type { Signer } from './credentials.ts'

export interface UrlToSign {
  method: 'GET' | 'PUT'
  /** Without a slash at its end. */
  endpoint: string
  bucket: string
  name: string
  expirationSeconds: number
  query?: Record<string, string>
  /** What the client must send along. */
  headers?: Record<string, string>
}

const ALGORITHM = 'GOOG4-RSA-SHA256'

/** Source: Cloud Storage, V4 signing process with query parameters. */
export async function signUrl(url: UrlToSign, signer: Signer, now = new Date()): Promise<Presigned> {
  const { method, endpoint, bucket, name, expirationSeconds, headers = {} } = url
  const time = now.toISOString().replace(/[-:]|\.\d{3}/g, '')
  const scope = `${time.slice(0, 8)}/auto/storage/goog4_request`
  const { host, pathname } = new URL(endpoint)
  const path = `${pathname.replace(/\/+$/, '')}/${[bucket, ...name.split('/')].map(encoded).join('/')}`
  const signed = Object.entries({ ...headers, host })
    .map(([header, value]) => [header.toLowerCase(), value.trim().replace(/\s+/g, ' ')] as const)
    .sort(byName)
  const query = Object.entries({
    ...url.query,
    'X-Goog-Algorithm': ALGORITHM,
    'X-Goog-Credential': `${signer.email}/${scope}`,
    'X-Goog-Date': time,
    'X-Goog-Expires': String(expirationSeconds),
    'X-Goog-SignedHeaders': signed.map(([header]) => header).join(';'),
  })
    .map(([parameter, value]) => [encoded(parameter), encoded(value)] as const)
    .sort(byName)
    .map(pair => pair.join('='))
    .join('&')
  const lines = signed.map(([header, value]) => `${header}:${value}\n`).join('')
  const request = [method, path, query, lines, signed.map(([header]) => header).join(';'), 'UNSIGNED-PAYLOAD'].join('\n')
  const digest = createHash('sha256').update(request).digest('hex')
  const signature = await signer.sign([ALGORITHM, time, scope, digest].join('\n'))
  return { url: `${new URL(endpoint).origin}${path}?${query}&X-Goog-Signature=${signature}`, headers }
}

function byName([a]: readonly [string, string], [b]: readonly [string, string]): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** RFC 3986: everything except the unreserved characters. */
function encoded(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, character => `%${character.charCodeAt(0).toString(16).toUpperCase()}`)
}
