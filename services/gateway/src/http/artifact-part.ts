import type { IncomingMessage, ServerResponse } from 'node:http'
import { invalidParameter, temporarilyUnavailable } from '@millrace/kit/errors'
import type { GatewayContext } from '../context.ts'
import { PART_ROUTE } from '../rpc/artifact-proxy.ts'
import type { RawParams, RawRoute } from './route.ts'

/** Parts of uploads to a store that doesn't take them itself. Whoever knows the upload's id may send them, as with a signed URL. */
export const artifactPartRoute: RawRoute = {
  method: 'PUT',
  pattern: `${PART_ROUTE}/{upload_id}/{part_number}`,
  area: 'artifacts',
  access: { own: 'uploadPart' },
  handle: receivePart,
}

async function receivePart(req: IncomingMessage, res: ServerResponse, { path, call }: RawParams, { bytes }: GatewayContext): Promise<void> {
  if (!bytes) throw temporarilyUnavailable('The artifacts service is not there')
  const { upload_id: uploadId = '', part_number: number = '' } = path
  if (!/^\d{1,5}$/.test(number)) throw invalidParameter(`part_number must be a number (got '${number}').`)
  const length = req.headers['content-length']
  const { etag = '' } = await bytes.write('mlflow-artifacts:/', req, {
    part: { uploadId, partNumber: Number(number) },
    length: length === undefined ? undefined : Number(length),
    signal: call.signal,
    call,
  })
  res.writeHead(200, { 'Content-Length': 0, ETag: etag })
  res.end()
}
