import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { artifactPlace } from '@millrace/kit/artifact-place'
import { callOptions } from '@millrace/kit/call-context'
import { invalidParameter, MlflowError, temporarilyUnavailable, toMlflowError } from '@millrace/kit/errors'
import type { HttpCall } from '@millrace/kit/http-call'
import { Action } from '@millrace/proto/millrace/options/v1/access_pb'
import type { Query } from '@millrace/rest/query'
import { safePath } from '@millrace/rest/safe-path'
import type { GatewayContext } from '../context.ts'
import { findRun } from '../rpc/run-artifacts.ts'
import { fileName, sendArtifact } from './artifact-send.ts'
import { writeHtml } from './respond.ts'
import type { RawParams, RawRoute } from './route.ts'

const UPLOAD_BYTES_MAX = 10 * 1024 * 1024

const BAD_REQUEST =
  '<!doctype html>\n<html lang=en>\n<title>400 Bad Request</title>\n<h1>Bad Request</h1>\n' +
  '<p>The browser (or proxy) sent a request that this server could not understand.</p>\n'

/** Artifacts of runs, wherever a run stores them. */
export const runArtifactRoutes: readonly RawRoute[] = [
  {
    method: 'GET',
    pattern: '/get-artifact',
    area: 'tracking',
    access: { needs: [{ on: 'run', from: 'run_id|run_uuid', action: Action.READ }] },
    handle: getArtifact,
  },
  {
    method: 'POST',
    pattern: '/ajax-api/2.0/mlflow/upload-artifact',
    area: 'tracking',
    access: { needs: [{ on: 'run', from: 'run_uuid', action: Action.UPDATE }] },
    handle: uploadArtifact,
  },
]

const first = (query: Query, name: string) => query.get(name)?.[0] || undefined

async function getArtifact(req: IncomingMessage, res: ServerResponse, { query, call }: RawParams, ctx: GatewayContext): Promise<void> {
  const given = query.get('path')?.[0]
  if (given === undefined) return writeHtml(res, 400, BAD_REQUEST)
  const path = safePath(given)
  const { artifactUri } = await findRun(ctx, first(query, 'run_id') ?? first(query, 'run_uuid'), callOptions(call))
  // In messages MLflow joins the root and an empty `path` of proxied artifacts with a slash at the end.
  const joins = path === '' && artifactUri.startsWith('mlflow-artifacts:')
  await sendBelow(req, res, ctx, { root: joins ? `${artifactUri}/` : artifactUri, path, call })
}

/** Streams the artifact at `path` below the artifact root of a run or model, as a download. */
export async function sendBelow(
  req: IncomingMessage,
  res: ServerResponse,
  { bytes }: GatewayContext,
  { root, path, call }: { root: string; path: string; call: HttpCall },
): Promise<void> {
  if (!bytes) throw temporarilyUnavailable('The artifacts service is not there')
  try {
    await sendArtifact(req, res, bytes, { uri: artifactPlace(root, path), name: fileName(path), call, inPages: true })
  } catch (reason) {
    const { errorCode, rawMessage } = toMlflowError(reason)
    throw res.headersSent ? reason : new MlflowError(errorCode, rawMessage, { cause: reason })
  }
}

async function uploadArtifact(req: IncomingMessage, res: ServerResponse, { query, call }: RawParams, ctx: GatewayContext): Promise<void> {
  const runId = first(query, 'run_uuid')
  if (!runId) throw invalidParameter('Request must specify run_uuid.')
  const given = first(query, 'path')
  if (!given) throw invalidParameter('Request must specify path.')
  const path = safePath(given)
  const content = await readUpload(req)
  const { artifactUri } = await findRun(ctx, runId, callOptions(call))
  if (!ctx.bytes) throw temporarilyUnavailable('The artifacts service is not there')
  if (path.endsWith('/')) throw invalidParameter('Invalid path')
  // Without the signal: what has arrived is kept when the client has gone.
  const body = Readable.from([content], { objectMode: false })
  await ctx.bytes.write(artifactPlace(artifactUri, path), body, { length: content.length, call })
  res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': 0 })
  res.end()
}

const FORM = /^\s*(application\/x-www-form-urlencoded|multipart\/form-data)\s*(;|$)/i

const noData = () => invalidParameter('Request must specify data.')

async function readUpload(req: IncomingMessage): Promise<Buffer> {
  const tooLarge = () => invalidParameter('Artifact size is too large. Max size is 10MB.')
  if (Number(req.headers['content-length'] ?? 0) > UPLOAD_BYTES_MAX) throw tooLarge()
  const chunks: Buffer[] = []
  let length = 0
  // MLflow's web framework consumes the body of a form.
  if (FORM.test(req.headers['content-type'] ?? '')) throw noData()
  for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > UPLOAD_BYTES_MAX) throw tooLarge()
    chunks.push(chunk)
  }
  if (length === 0) throw noData()
  return Buffer.concat(chunks)
}
