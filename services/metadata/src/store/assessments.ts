import type { Database, Executor } from './db.ts'

const sourceRun = '"mlflow.assessment.sourceRunId": "'

/** Removes the trace assessments that came from runs, as MLflow does when a run is deleted: their metadata's JSON text names the run. */
export async function deleteAssessmentsOf(db: Database, tx: Executor, runIds: readonly string[]): Promise<void> {
  if (runIds.length === 0) return
  const pattern = runIds.length === 1 ? `%${sourceRun}${runIds[0]}"%` : `%${sourceRun}%`
  const query = db.kysely
    .selectFrom('assessments')
    .select(['assessment_id', 'assessment_metadata'])
    .where('assessment_metadata', 'like', pattern)
  const wanted = new Set(runIds)
  for (const { assessment_id, assessment_metadata } of await tx.all(query.compile())) {
    const text = assessment_metadata ?? ''
    const start = text.indexOf(sourceRun) + sourceRun.length
    if (!wanted.has(text.slice(start, text.indexOf('"', start)))) continue
    await tx.run(db.kysely.deleteFrom('assessments').where('assessment_id', '=', assessment_id).compile())
  }
}
