import { createHash } from 'node:crypto'
import type { Control } from './control.ts'
import { storableError } from './text.ts'

type UploadState = 'OPEN' | 'COMPLETING' | 'COMPLETED' | 'ABORTING' | 'ABORTED' | 'FAILED'

export interface Part {
  readonly partNumber: number
  readonly etag: string
  readonly url: string
}

export interface Upload {
  readonly id: string
  readonly uri: string
  readonly uploadId: string
  readonly state: UploadState
  /** MLflow's error code and message of the last failure; "" without one. */
  readonly errorCode: string
  readonly error: string
  readonly jobId: string | null
  readonly numParts: number
  /** Times are milliseconds since the epoch. */
  readonly createdTime: bigint
  readonly updatedTime: bigint
}

interface Ended<S extends UploadState> {
  readonly state: S
  readonly errorCode: string
  readonly error: string
}

/** The key of an upload's record. */
function uploadKey(uri: string, uploadId: string): string {
  return createHash('sha256').update(`${uri}\0${uploadId}`).digest('hex')
}

export class UploadStore {
  readonly #control: Control

  constructor(control: Control) {
    this.#control = control
  }

  /** Records an upload; one that is recorded already stays as it is. */
  async record(uri: string, uploadId: string, numParts: number): Promise<Upload> {
    const id = uploadKey(uri, uploadId)
    const now = BigInt(Date.now())
    const row = { id, uri, uploadId, numParts, state: 'OPEN', createdTime: now, updatedTime: now }
    return (await this.#control.use(db => db.multipartUpload.upsert({ where: { id }, create: row, update: {} }))) as Upload
  }

  async get(uri: string, uploadId: string): Promise<Upload | undefined> {
    const row = await this.#control.use(db => db.multipartUpload.findUnique({ where: { id: uploadKey(uri, uploadId) } }))
    return row ? (row as Upload) : undefined
  }

  async forJob(jobId: string): Promise<(Upload & { readonly parts: Part[] }) | undefined> {
    const include = { parts: { orderBy: { partNumber: 'asc' } } } as const
    const row = await this.#control.use(db => db.multipartUpload.findFirst({ where: { jobId }, include }))
    return row ? (row as Upload & { parts: Part[] }) : undefined
  }

  /** In one transaction: an OPEN or FAILED upload becomes COMPLETING with these parts and the new job. @returns whether it did. */
  async startCompletion(id: string, jobId: string, parts: readonly Part[]): Promise<boolean> {
    const now = BigInt(Date.now())
    const rows = parts.map(part => ({ ...part, multipartUploadId: id }))
    return this.#control.use(db =>
      db.$transaction(async tx => {
        const where = { id, state: { in: ['OPEN', 'FAILED'] } }
        const { count } = await tx.multipartUpload.updateMany({
          where,
          data: { state: 'COMPLETING', errorCode: '', error: '', updatedTime: now },
        })
        if (count !== 1) return false
        await tx.job.create({ data: { id: jobId, kind: 'multipart-completion', state: 'PENDING', createdTime: now, dueTime: now } })
        await tx.multipartUpload.update({ where: { id }, data: { jobId } })
        await tx.multipartUploadPart.deleteMany({ where: { multipartUploadId: id } })
        await tx.multipartUploadPart.createMany({ data: rows })
        return true
      }),
    )
  }

  /** Writes how the completion by `jobId` went; its parts are not needed any more unless it may be tried again. */
  async endCompletion(jobId: string, outcome: Ended<'COMPLETED' | 'FAILED' | 'ABORTED'>): Promise<void> {
    const data = { ...outcome, error: storableError(outcome.error), updatedTime: BigInt(Date.now()) }
    await this.#control.use(db => db.multipartUpload.updateMany({ where: { jobId, state: 'COMPLETING' }, data }))
    if (outcome.state !== 'FAILED') await this.#control.use(db => db.multipartUploadPart.deleteMany({ where: { upload: { jobId } } }))
  }

  /**
   * In one transaction: an OPEN, FAILED or ABORTED upload becomes ABORTING with the new job. An ABORTED one because parts that were under
   * way may have arrived since. @returns whether it did.
   */
  async startAbort(id: string, jobId: string): Promise<boolean> {
    const now = BigInt(Date.now())
    return this.#control.use(db =>
      db.$transaction(async tx => {
        const where = { id, state: { in: ['OPEN', 'FAILED', 'ABORTED'] } }
        const data = { state: 'ABORTING', errorCode: '', error: '', updatedTime: now }
        if ((await tx.multipartUpload.updateMany({ where, data })).count !== 1) return false
        await tx.job.create({ data: { id: jobId, kind: 'multipart-abort', state: 'PENDING', createdTime: now, dueTime: now } })
        await tx.multipartUpload.update({ where: { id }, data: { jobId } })
        return true
      }),
    )
  }

  /** Writes how the abort by `jobId` went. */
  async endAbort(jobId: string, outcome: Ended<'ABORTED' | 'FAILED'>): Promise<void> {
    const data = { ...outcome, error: storableError(outcome.error), updatedTime: BigInt(Date.now()) }
    await this.#control.use(db => db.multipartUpload.updateMany({ where: { jobId, state: 'ABORTING' }, data }))
    if (outcome.state === 'ABORTED') await this.#control.use(db => db.multipartUploadPart.deleteMany({ where: { upload: { jobId } } }))
  }

  /** Ids of uploads that were neither completed nor aborted, and not touched since `time`; oldest first. */
  async abandoned(time: number, limit: number): Promise<string[]> {
    const where = { state: { in: ['OPEN', 'FAILED'] }, updatedTime: { lt: BigInt(Math.floor(time)) } }
    const rows = await this.#control.use(db =>
      db.multipartUpload.findMany({ where, orderBy: { updatedTime: 'asc' }, take: limit, select: { id: true } }),
    )
    return rows.map(row => row.id)
  }

  /** Those that were neither completed nor aborted, newest first. */
  async list(limit: number, after?: { createdTime: bigint; id: string }): Promise<Upload[]> {
    const older = after && [{ createdTime: { lt: after.createdTime } }, { createdTime: after.createdTime, id: { lt: after.id } }]
    const rows = await this.#control.use(db =>
      db.multipartUpload.findMany({
        where: { state: { in: ['OPEN', 'COMPLETING', 'ABORTING', 'FAILED'] }, OR: older },
        orderBy: [{ createdTime: 'desc' }, { id: 'desc' }],
        take: limit,
      }),
    )
    return rows as Upload[]
  }

  /** Forgets uploads that ended before `time`. */
  async forget(time: number): Promise<void> {
    const where = { state: { in: ['COMPLETED', 'ABORTED'] }, updatedTime: { lt: BigInt(Math.floor(time)) } }
    await this.#control.use(db => db.multipartUpload.deleteMany({ where }))
  }
}
