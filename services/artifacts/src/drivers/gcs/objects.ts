import { isMissing } from './errors.ts'
import { type GcsLocation, objectPath } from './location.ts'

const DELETES_AT_ONCE = 32

export interface ListedObject {
  name: string
  /** Decimal. */
  size: string
  generation: string
  /** Base64; absent for a composed object. */
  md5Hash?: string
}

export interface Page {
  items?: ListedObject[]
  prefixes?: string[]
  nextPageToken?: string
}

/** Every page of a listing, in the order of names. */
export async function* pages(
  location: GcsLocation,
  query: { prefix: string; delimiter?: string; maxResults?: number },
  signal?: AbortSignal,
): AsyncGenerator<Page> {
  let pageToken: string | undefined
  do {
    const page = await location.client.json<Page>({
      method: 'GET',
      path: objectPath(location),
      query: { ...query, pageToken, fields: 'items(name,size,generation,md5Hash),prefixes,nextPageToken' },
      signal,
    })
    yield page
    pageToken = page.nextPageToken || undefined
  } while (pageToken !== undefined)
}

/** Absent is success, of the bucket too. */
export async function deleteObject(location: GcsLocation, name: string, signal?: AbortSignal): Promise<void> {
  await location.client.send({ method: 'DELETE', path: objectPath(location, name), signal, alsoFine: [404] })
}

export async function deleteAll(location: GcsLocation, names: readonly string[], signal?: AbortSignal): Promise<void> {
  await eachAtOnce(names, DELETES_AT_ONCE, name => deleteObject(location, name, signal))
}

/** Results in the order of the items, with at most so many calls at a time. After a failure no more begin; those that have are waited for. */
export async function eachAtOnce<T, R>(items: readonly T[], atOnce: number, action: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  const left = items.entries()
  let failed = false
  const work = async () => {
    for (const [i, item] of left) {
      if (failed) return
      try {
        results[i] = await action(item, i)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const outcomes = await Promise.allSettled(Array.from({ length: Math.min(atOnce, items.length) }, work))
  for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
  return results
}

/** Undefined when nothing is at the name. */
export async function orUndefined<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}
