import type { File } from '@google-cloud/storage'
import { eachAtOnce } from '../../concurrency.ts'
import { bucketOf, type GcsLocation } from './location.ts'

/** Source: Cloud Storage, composite objects. */
const SOURCES_MAX = 32
const COMPOSES_AT_ONCE = 8

export interface Source {
  name: string
  generation?: string | number
}

interface Target {
  name: string
  contentType: string
  metadata?: Record<string, string>
}

/**
 * Makes an object of any number of others, 32 at a time: three levels take 32,768.
 * @param folder below which the objects of the levels between are; they stay.
 * @throws ApiError 404 when a source is gone or was replaced.
 */
export async function composeInto(
  location: GcsLocation,
  target: Target,
  sources: readonly Source[],
  folder: string,
  signal?: AbortSignal,
): Promise<void> {
  let left = sources
  for (let level = 1; left.length > SOURCES_MAX; level++) {
    const groups: Source[][] = []
    for (let i = 0; i < left.length; i += SOURCES_MAX) groups.push(left.slice(i, i + SOURCES_MAX))
    left = await eachAtOnce(groups, COMPOSES_AT_ONCE, (group, i) =>
      compose(location, { name: `${folder}/${level}/${i}`, contentType: target.contentType }, group, signal),
    )
  }
  await compose(location, target, left, signal)
}

async function compose(location: GcsLocation, target: Target, sources: readonly Source[], signal?: AbortSignal): Promise<Source> {
  const bucket = bucketOf(location, signal)
  const { name, contentType, metadata } = target
  const destination = bucket.file(name)
  destination.metadata = { contentType }
  if (metadata) addMetadata(destination, metadata)
  const files = sources.map(({ name, generation }) => bucket.file(name, { generation }))
  const [, { generation }] = (await bucket.combine(files, destination)) as [File, Source]
  return { name, generation }
}

/** The SDK sends no metadata of an object that is composed. */
function addMetadata(destination: File, metadata: Record<string, string>): void {
  destination.interceptors.push({
    request: options => {
      const { json } = options as { json?: { destination: object } }
      return Object.assign(options, { json: { ...json, destination: { ...json?.destination, metadata } } }) as never
    },
  })
}
