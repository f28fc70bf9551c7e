import { badRequest } from '@millrace/kit/errors'
import { sql } from 'kysely'
import type { AnyDatabase } from '../db.ts'
import { activeRun } from './active-run.ts'

const TAG = 'mlflow.log-model.history'

/**
 * Appends a model to the list that a run keeps in a tag.
 * @param summary the model as JSON text.
 */
export function recordLoggedModel(db: AnyDatabase, runId: string, summary: string): Promise<void> {
  return db.transaction(async tx => {
    await activeRun(db, tx, runId)
    const before = await tx.get(
      sql<{ value: string }>`SELECT value FROM tags WHERE run_uuid = ${runId} AND key = ${TAG}`.compile(db.kysely),
    )
    const value = before ? append(before.value, summary) : `[${summary}]`
    await tx.run(
      sql`INSERT INTO tags (key, value, run_uuid) VALUES (${TAG}, ${value}, ${runId})
        ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value`.compile(db.kysely),
    )
  })
}

function append(list: string, entry: string): string {
  const inner = /^\s*\[([\s\S]*)\]\s*$/.exec(list)?.[1]
  if (inner === undefined) throw badRequest(`The tag ${TAG} holds no list`)
  return inner.trim() ? `[${inner}, ${entry}]` : `[${entry}]`
}
