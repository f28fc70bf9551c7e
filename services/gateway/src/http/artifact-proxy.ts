import type { IncomingMessage, ServerResponse } from 'node:http'
import { toMlflowError } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { safePath } from '@millrace/rest/safe-path'
import type { GatewayContext } from '../context.ts'
import { proxiedUri } from '../rpc/artifact-proxy.ts'
import { fileName, sendArtifact } from './artifact-send.ts'
import { writeJson } from './respond.ts'
import type { RawParams, RawRoute } from './route.ts'

const ROUTE = '/api/2.0/mlflow-artifacts/artifacts/'

/** Error class of the artifacts service when the path is a folder. */
const IS_A_DIRECTORY = 'IS_A_DIRECTORY'

const DISABLED = 'Artifact serving is disabled. Run `mlflow server` with `--serve-artifacts` to enable.'
const NO_NAME = "Artifact path must include a filename (cannot end with '/')."

/** Uploads and downloads through the proxy. The second pattern is for an empty path, which `**` doesn't match. */
export const artifactProxyRoutes: readonly RawRoute[] = [`${ROUTE}{artifact_path=**}`, ROUTE].flatMap((pattern): RawRoute[] => [
  { method: 'GET', pattern, twin: true, unprefixed: true, access: { own: 'readArtifactPath' }, handle: download },
  { method: 'PUT', pattern, twin: true, unprefixed: true, access: { own: 'updateArtifactPath' }, handle: upload },
])

async function download(
  req: IncomingMessage,
  res: ServerResponse,
  { path, call }: RawParams,
  { bytes, config }: GatewayContext,
): Promise<void> {
  if (!bytes || !config.serveArtifacts) return writeDetail(res, 503, DISABLED)
  const artifact = safePath(path.artifact_path ?? '')
  try {
    await sendArtifact(req, res, bytes, { uri: proxiedUri(artifact), name: fileName(artifact), call })
  } catch (reason) {
    const error = toMlflowError(reason)
    if (res.headersSent || error.errorClass !== IS_A_DIRECTORY) throw reason
    writeDetail(res, 400, `Artifact path refers to a directory, not a file: '${shorten(artifact)}'`)
  }
}

async function upload(
  req: IncomingMessage,
  res: ServerResponse,
  { path, call }: RawParams,
  { bytes, config }: GatewayContext,
): Promise<void> {
  if (!bytes || !config.serveArtifacts) return writeDetail(res, 503, DISABLED)
  const artifact = safePath(path.artifact_path ?? '')
  if (artifact === '' || artifact.endsWith('/')) return writeDetail(res, 400, NO_NAME)
  const length = req.headers['content-length']
  await bytes.write(proxiedUri(artifact), req, {
    length: length === undefined ? undefined : Number(length),
    signal: call.signal,
    call,
  })
  res.writeHead(200, { 'Content-Length': 0 })
  res.end()
}

/** The error body of MLflow's second web framework, which serves these routes. */
function writeDetail(res: ServerResponse, status: number, detail: string): void {
  writeJson(res, JSON.stringify({ detail }), status)
}
