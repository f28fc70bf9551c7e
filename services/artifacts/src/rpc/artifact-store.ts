import type { ServiceImpl } from '@connectrpc/connect'
import { invalidParameter } from '@millrace/kit/errors'
import { guessType } from '@millrace/kit/media-types'
import { type ArtifactStoreService, PresignMethod } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { PRESIGNED_TTL_SECONDS_MAX } from '../config.ts'
import type { ArtifactsContext } from '../context.ts'
import { checkKey } from '../keys.ts'

export function artifactStore({ stores, presignedDownloadTtlSeconds }: ArtifactsContext): ServiceImpl<typeof ArtifactStoreService> {
  return {
    async list({ uri }, { signal }) {
      const { store, path } = await stores.open(uri)
      const files = []
      for await (const { name, isDir, sizeBytes } of store.list(path, signal)) {
        files.push({ path: name, isDir, fileSize: isDir ? undefined : BigInt(sizeBytes) })
      }
      return { files }
    },

    async stat({ uri }, { signal }) {
      const { store, path, hostIgnored } = await stores.open(uri)
      const found = await store.stat(path, signal)
      return found ? { exists: true, isDir: found.isDir, size: BigInt(found.sizeBytes), hostIgnored } : { hostIgnored }
    },

    async delete({ uri }, { signal }) {
      const { store, path, proxied } = await stores.open(uri)
      if (proxied && checkKey(path) === '') throw invalidParameter('Invalid path')
      await store.remove(path, signal)
      return {}
    },

    async startMultipart({ uri, numParts }, { signal }) {
      const { store, path } = await stores.open(uri)
      const { multipart, key } = store.multipart(path)
      if (numParts < 0 || numParts > multipart.partsMax) {
        throw invalidParameter(`num_parts must be between 0 and ${multipart.partsMax} (got ${numParts}).`)
      }
      const { uploadId, parts } = await multipart.start(key, numParts, signal)
      return { uploadId, parts, received: parts.every(({ url }) => url === '') }
    },

    async completeMultipart({ uri, uploadId, parts }, { signal }) {
      const { store, path } = await stores.open(uri)
      const { multipart, key } = store.multipart(path)
      if (uploadId === '') throw invalidParameter('upload_id must not be empty')
      if (parts.length === 0) throw invalidParameter('parts must not be empty')
      const inOrder = parts.toSorted((a, b) => a.partNumber - b.partNumber)
      await multipart.complete(key, uploadId, inOrder, signal)
      return {}
    },

    async abortMultipart({ uri, uploadId }, { signal }) {
      const { store, path } = await stores.open(uri)
      const { multipart, key } = store.multipart(path)
      if (uploadId === '') throw invalidParameter('upload_id must not be empty')
      await multipart.abort(key, uploadId, signal)
      return {}
    },

    async presign({ uri, method, expirationSeconds: asked }, { signal }) {
      const expirationSeconds = asked || presignedDownloadTtlSeconds
      const { store, path } = await stores.open(uri)
      const isUpload = method === PresignMethod.PUT
      const { presign, key } = store.presign(path, isUpload ? 'upload' : 'download')
      if (expirationSeconds < 1 || expirationSeconds > PRESIGNED_TTL_SECONDS_MAX) {
        throw invalidParameter(`expiration must be between 1 and ${PRESIGNED_TTL_SECONDS_MAX} seconds (got ${expirationSeconds}).`)
      }
      if (isUpload && presign.upload) return presign.upload(key, expirationSeconds, guessType(key).type ?? 'application/octet-stream')
      const { url, headers, sizeBytes } = await presign.download(key, expirationSeconds, signal)
      return { url, headers, size: BigInt(sizeBytes) }
    },

    async capabilities({ uri }) {
      const opened = uri === '' ? await stores.destination() : await stores.open(uri)
      if (!opened) return {}
      return { ...opened.store.capabilities, scheme: opened.scheme }
    },
  }
}
