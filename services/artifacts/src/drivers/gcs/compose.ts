import { type GcsLocation, objectPath } from './location.ts'
import { eachAtOnce } from './objects.ts'

/** Source: Cloud Storage, composite objects. */
const SOURCES_MAX = 32
const COMPOSES_AT_ONCE = 8

interface Source {
  name: string
  generation: string
}

interface Target {
  name: string
  contentType: string
  metadata?: Record<string, string>
}

/**
 * Makes an object of any number of others, 32 at a time: three levels take 32,768.
 * @param folder below which the objects of the levels between are; they stay.
 * @throws GcsFailure 404 or 412 when a source is gone or was replaced.
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
  const { name, ...destination } = target
  const request = {
    destination,
    sourceObjects: sources.map(source => ({
      name: source.name,
      generation: source.generation,
      objectPreconditions: { ifGenerationMatch: source.generation },
    })),
  }
  const { generation } = await location.client.json<{ generation: string }>({
    method: 'POST',
    path: `${objectPath(location, name)}/compose`,
    query: { fields: 'generation' },
    headers: { 'Content-Type': 'application/json; charset=UTF-8' },
    body: [Buffer.from(JSON.stringify(request))],
    signal,
  })
  return { name, generation }
}
