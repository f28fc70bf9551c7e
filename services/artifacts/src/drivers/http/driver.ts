import { posix } from 'node:path'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { ReadResult } from '@millrace/kit/bytes'
import { cancelled, internalError, invalidParameter } from '@millrace/kit/errors'
import type { Driver, DriverWriteOptions, Entry, Multipart, Presign, ReadOptions, Stat } from '../../driver.ts'
import { fileInTheWay, folderInTheWay, isDirectory, noSuchArtifact, rangeNotSatisfiable } from '../../errors.ts'
import { byCodePoint } from '../../keys.ts'
import { ReceivedMultipart } from '../../received-multipart.ts'
import { isLost } from '../system-errors.ts'
import type { HttpClient } from './client.ts'
import { HttpFailure, httpError } from './errors.ts'
import { artifactPath, type HttpLocation, isAddressable, ownName, requestPath, writablePath } from './location.ts'
import { HttpMultipart } from './multipart.ts'
import { HttpPresign } from './presign.ts'
import { read as readArtifact } from './read.ts'
import { RelayedMultipart } from './relayed-multipart.ts'
import { isObject, type Remote } from './remote.ts'

const FOLDER: Stat = { isDir: true, sizeBytes: 0 }

/** Largest body that is taken whole, to go over a kept connection and again when that was closed. */
const SMALL_BODY_BYTES_MAX = 256 * 1024

/** For the answer behind a lost connection: the client waits for it. */
const REFUSAL_MS_MAX = 3_000

/**
 * Artifacts that another tracking server proxies. When they become visible and how durable they are is the other server's doing;
 * ranges work whether it knows them or not. Presigned downloads are there while it offers them; so is its multipart upload, in whose
 * place parts are received otherwise.
 */
export class HttpDriver implements Driver {
  readonly #client: HttpClient
  readonly #location: HttpLocation
  readonly #remote: Remote
  readonly multipart: Multipart
  readonly #presign: Presign

  constructor(client: HttpClient, location: HttpLocation, remote: Remote) {
    this.#client = client
    this.#location = location
    this.#remote = remote
    this.multipart = new HttpMultipart(remote, new RelayedMultipart(client, location), new ReceivedMultipart(this))
    this.#presign = new HttpPresign(client, location, key => this.#sizeOf(key))
  }

  get presign(): Presign | undefined {
    return this.#remote.presign ? this.#presign : undefined
  }

  async stat(key: string, signal?: AbortSignal): Promise<Stat | undefined> {
    const found = await this.#find(key, signal)
    if (!found) this.#remote.checkTracking()
    return found
  }

  /** By the listing of the folder around it, which is the only thing every version of MLflow's server tells. */
  async #find(key: string, signal?: AbortSignal): Promise<Stat | undefined> {
    if (artifactPath(this.#location, key) === '') {
      await this.#listed('', signal)
      return FOLDER
    }
    if (key === '') return (await this.#listed('', signal)).length > 0 ? FOLDER : undefined
    const at = key.lastIndexOf('/')
    const found = (await this.#listed(key.slice(0, Math.max(0, at)), signal)).find(({ name }) => name === key.slice(at + 1))
    return found && { isDir: found.isDir, sizeBytes: found.sizeBytes }
  }

  async *list(key: string, signal?: AbortSignal): AsyncGenerator<Entry> {
    yield* await this.#listed(key, signal)
  }

  async read(key: string, { range, signal }: ReadOptions = {}): Promise<ReadResult> {
    const path = artifactPath(this.#location, key)
    await this.#remote.check()
    if (path === '') throw isDirectory(key)
    if (!isAddressable(path)) throw noSuchArtifact(key)
    try {
      const call = { method: 'GET' as const, path: requestPath(this.#location, 'artifacts', path), signal }
      const get = (headers: Record<string, string>) => this.#client.send(this.#location, { ...call, headers })
      return await readArtifact({ key, range, timeoutMs: this.#client.timeoutMs, signal, get, sizeOf: () => this.#sizeOf(key, signal) })
    } catch (error) {
      if (range && error instanceof HttpFailure && error.status === 416) throw rangeNotSatisfiable(range)
      if (!(error instanceof HttpFailure && [400, 404, 500].includes(error.status))) throw httpError(error, key)
      // A folder is one of these, depending on the version of the other server and on its store.
      const found = await this.#find(key, signal)
      throw found?.isDir ? isDirectory(key, error) : found ? httpError(error, key) : noSuchArtifact(key, error)
    }
  }

  async write(key: string, body: Readable, { length, contentType, signal }: DriverWriteOptions = {}): Promise<void> {
    const path = writablePath(this.#location, key)
    await this.#remote.check()
    if (path === '') throw isDirectory(key)
    const call = {
      method: 'PUT' as const,
      path: requestPath(this.#location, 'artifacts', path),
      headers: { 'Content-Type': contentType ?? 'application/octet-stream' },
      signal,
    }
    try {
      if (length !== undefined && length <= SMALL_BODY_BYTES_MAX) {
        const content = await taken(body, signal)
        ;(await this.#client.send(this.#location, call, content)).resume()
      } else {
        await this.#client.stream(this.#location, call, { stream: body, length })
      }
    } catch (error) {
      if (isLost(error)) throw await this.#refusalBehind(key, error, signal)
      throw error instanceof HttpFailure && error.status === 500 ? await this.#refusal(key, error) : httpError(error, key)
    }
  }

  async remove(key: string, signal?: AbortSignal): Promise<void> {
    const path = artifactPath(this.#location, key)
    await this.#remote.check()
    if (!isAddressable(path)) {
      if (isAddressable(this.#location.root)) return
      throw invalidParameter('Another tracking server may have artifacts of this location under another name, which is not known')
    }
    if (path === '') {
      for (const { name } of await this.#listed('', signal)) await this.remove(name, signal)
      return
    }
    try {
      // The answer is read, since a page that answers everything with 200 has removed nothing.
      checkObject(
        await this.#client.json(this.#location, { method: 'DELETE', path: requestPath(this.#location, 'artifacts', path), signal }),
      )
    } catch (error) {
      if (!(error instanceof HttpFailure && error.status === 404)) throw httpError(error, key)
      this.#remote.checkTracking()
    }
  }

  async #listed(key: string, signal?: AbortSignal): Promise<Entry[]> {
    const path = artifactPath(this.#location, key)
    this.#remote.checkListed(path)
    await this.#remote.check()
    if (!isAddressable(path)) return []
    const query = path === '' ? '' : `?path=${encodeURIComponent(path)}`
    try {
      const call = { method: 'GET' as const, path: requestPath(this.#location, 'artifacts', '') + query, signal }
      const entries = entriesOf(await this.#client.json(this.#location, call))
      this.#remote.listed()
      return entries.sort((a, b) => byCodePoint(a.name, b.name))
    } catch (error) {
      if (error instanceof HttpFailure && error.status === 404) return []
      throw httpError(error, key)
    }
  }

  async #sizeOf(key: string, signal?: AbortSignal): Promise<number> {
    const found = await this.#find(key, signal)
    if (!found) throw noSuchArtifact(key)
    if (found.isDir) throw isDirectory(key)
    return found.sizeBytes
  }

  /** A server that refuses a body which is still coming cuts the connection, and its answer may be lost; another call gets it. */
  async #refusalBehind(key: string, lost: unknown, signal?: AbortSignal): Promise<Error> {
    try {
      const path = requestPath(this.#location, 'artifacts', '')
      const limit = AbortSignal.any([AbortSignal.timeout(REFUSAL_MS_MAX), ...(signal ? [signal] : [])])
      ;(await this.#client.send(this.#location, { method: 'GET', path, signal: limit })).destroy()
      return httpError(lost, key)
    } catch (error) {
      return httpError(error instanceof HttpFailure ? error : lost, key)
    }
  }

  /** MLflow's server fails without a reason when something is in the way of an upload. */
  async #refusal(key: string, error: HttpFailure): Promise<Error> {
    if ((await this.#find(key))?.isDir) return folderInTheWay(key, error)
    for (let folder = posix.dirname(key); folder !== '.'; folder = posix.dirname(folder)) {
      const found = await this.#find(folder)
      if (found) return found.isDir ? httpError(error, key) : fileInTheWay(key, error)
    }
    return httpError(error, key)
  }
}

async function taken(body: Readable, signal?: AbortSignal): Promise<Buffer> {
  const stopped = () => body.destroy(cancelled('The upload was cut off'))
  signal?.addEventListener('abort', stopped, { once: true })
  try {
    if (signal?.aborted) stopped()
    return await buffer(body)
  } catch (error) {
    throw cancelled('The upload was cut off', { cause: error })
  } finally {
    signal?.removeEventListener('abort', stopped)
  }
}

function entriesOf(answer: unknown): Entry[] {
  const object = checkObject(answer)
  const files = 'files' in object ? object.files : []
  if (!Array.isArray(files)) throw internalError('The other tracking server answered with something else than a list of artifacts')
  return files.flatMap(({ path, is_dir, file_size }: { path?: unknown; is_dir?: unknown; file_size?: unknown }) => {
    if (typeof path !== 'string') throw invalidParameter('The other tracking server listed an artifact without a path')
    const name = ownName(posix.basename(path))
    if (name === '' || name === '.' || name === '..') return []
    const isDir = is_dir === true
    return { name, isDir, sizeBytes: isDir ? 0 : Number(file_size ?? 0) }
  })
}

function checkObject(answer: unknown): object {
  if (isObject(answer)) return answer
  throw internalError('What answers at the artifact location is not a tracking server')
}
