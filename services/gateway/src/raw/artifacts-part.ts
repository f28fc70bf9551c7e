import type { IncomingMessage, ServerResponse } from 'node:http'
import { clientGone } from '@millrace/kit/client-gone'
import { invalidParameter, temporarilyUnavailable } from '@millrace/kit/errors'
import type { GatewayContext } from '../context.ts'
import type { RawParams, RawRoute } from './route.ts'

const ROUTE = '/api/2.0/mlflow-artifacts/mpu/part'

/** Parts of uploads to a store that takes none itself. Whoever knows the upload's id may send them, as with a signed URL. */
export const artifactPartRoute: RawRoute = {
  method: 'PUT',
  pattern: `${ROUTE}/{upload_id}/{part_number}`,
  area: 'artifacts',
  handle: receivePart,
}

/** Where clients send a part. @param base URL of this server. */
export const partUrl = (base: string, uploadId: string, partNumber: number): string =>
  `${base}${ROUTE}/${encodeURIComponent(uploadId)}/${partNumber}`

async function receivePart(req: IncomingMessage, res: ServerResponse, { path }: RawParams, { bytes }: GatewayContext): Promise<void> {
  if (!bytes) throw temporarilyUnavailable('The artifacts service is not there')
  const { upload_id: uploadId = '', part_number: number = '' } = path
  if (!/^\d{1,5}$/.test(number)) throw invalidParameter(`part_number must be a number (got '${number}').`)
  const length = req.headers['content-length']
  const { etag = '' } = await bytes.write('mlflow-artifacts:/', req, {
    part: { uploadId, partNumber: Number(number) },
    length: length === undefined ? undefined : Number(length),
    signal: clientGone(res),
  })
  res.writeHead(200, { 'Content-Length': 0, ETag: etag })
  res.end()
}
