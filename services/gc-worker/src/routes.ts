import type { Route } from '@millrace/kit/rpc'
import type { Context } from './context.ts'
import { garbageCollectionRoutes } from './rpc/garbage-collection.ts'
import { multipartUploadRoutes } from './rpc/multipart-uploads.ts'

export function createRoutes(context: Context): Route[] {
  return [...garbageCollectionRoutes(context), ...createUploadRoutes(context)]
}

/** What needs no metadata service. */
export function createUploadRoutes(context: Context): Route[] {
  return multipartUploadRoutes(context)
}
