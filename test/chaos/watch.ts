import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'

const base = '/api/2.0/mlflow-artifacts/artifacts'
const PAUSE_MS = 20
/** Once the artifact is there: reading all of it is work for everybody. */
const LONG_PAUSE_MS = 500
const READ_TIMEOUT_MS = 600_000

export interface Whole {
  sizeBytes: number
  sha256: string
}

export interface Watch {
  /** Whether the artifact was there. */
  isSeen(): boolean
  /** @returns everything that was seen and shouldn't have been; so is an artifact that isn't there, and whole, at the end. */
  end(): Promise<string[]>
}

type Sight = 'nothing' | 'whole' | 'unknown'

/**
 * Lists a folder and reads the one artifact that is to be in it through the front door, over and over. It may only be absent at first, then
 * whole for ever; while the store's services are away it may be unknown.
 */
export function watch(url: string, folder: string, name: string, whole: Whole): Watch {
  const wrong = new Set<string>()
  let isSeen = false
  const over = new AbortController()

  const list = async (): Promise<Sight> => {
    const answer = await fetch(`${url}${base}?path=${encodeURIComponent(folder)}`, { signal: AbortSignal.timeout(READ_TIMEOUT_MS) })
    const text = await answer.text()
    if (answer.status !== 200) return refused('list', answer.status, text)
    const { files = [] } = JSON.parse(text) as { files?: { path: string; file_size?: number }[] }
    for (const { path, file_size } of files) {
      if (path !== name || file_size !== whole.sizeBytes) wrong.add(`listed: ${path} of ${file_size} bytes`)
    }
    return files.length === 0 ? 'nothing' : 'whole'
  }

  const read = async (): Promise<Sight> => {
    const answer = await fetch(`${url}${base}/${folder}/${name}`, { signal: AbortSignal.timeout(READ_TIMEOUT_MS) })
    if (answer.status === 404) {
      await answer.body?.cancel()
      return 'nothing'
    }
    if (answer.status !== 200 || !answer.body) return refused('read', answer.status, await answer.text())
    const announced = Number(answer.headers.get('content-length'))
    if (announced !== whole.sizeBytes) wrong.add(`read: announced as ${announced} bytes`)
    const hash = createHash('sha256')
    try {
      for await (const chunk of answer.body) hash.update(chunk)
    } catch {
      // Cut short, and the client is told so.
      return 'unknown'
    }
    if (hash.digest('hex') !== whole.sha256) wrong.add('read: other bytes')
    return 'whole'
  }

  const refused = (what: string, status: number, text: string): Sight => {
    if (status !== 503) wrong.add(`${what}: ${status} ${text.slice(0, 200)}`)
    return 'unknown'
  }

  const look = async (): Promise<void> => {
    for (const [what, sight] of [
      ['listed', await list()],
      ['read', await read()],
    ]) {
      if (isSeen && sight === 'nothing') wrong.add(`${what}: nothing, after it was there`)
      isSeen ||= sight === 'whole'
    }
  }

  const looking = (async () => {
    while (!over.signal.aborted) {
      await look()
      await sleep(isSeen ? LONG_PAUSE_MS : PAUSE_MS, undefined, { signal: over.signal }).catch(() => {})
    }
  })()
  looking.catch(() => {})
  return {
    isSeen: () => isSeen,
    async end() {
      over.abort()
      await looking
      const last = [await list(), await read()]
      if (last.some(sight => sight !== 'whole')) wrong.add(`at the end: listed as ${last[0]}, read as ${last[1]}`)
      return [...wrong]
    },
  }
}
