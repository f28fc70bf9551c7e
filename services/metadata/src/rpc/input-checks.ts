import type { DatasetInput } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import type { DatasetEdge } from '../store/inputs.ts'
import { checkLength, invalidValue } from './checks.ts'

/** Unicode characters at most. */
const LIMITS = { name: 500, digest: 36, source: 65_535, schema: 1_048_575, profile: 16_777_215, key: 255, value: 500 } as const

const RUN_ID = /^[a-zA-Z0-9][\p{L}\p{N}_-]{0,255}\n?$/u

/** @throws INVALID_PARAMETER_VALUE for what cannot be the id of a run. */
export function checkRunId(runId: string): void {
  if (!RUN_ID.test(runId)) throw invalidValue('run_id', runId)
}

/** A data set of a request, each text within its limit; what is missing is empty. */
export function checkDatasetInput({ dataset, tags }: DatasetInput): DatasetEdge {
  const { name = '', digest = '', sourceType = '', source = '', schema, profile } = dataset ?? {}
  checkLengths({ name, digest, source, schema, profile })
  const pairs = tags.map(({ key = '', value = '' }) => {
    checkLengths({ key, value })
    return [key, value] as const
  })
  return { name, digest, sourceType, source, schema: schema ?? null, profile: profile ?? null, tags: pairs }
}

function checkLengths(values: Partial<Record<keyof typeof LIMITS, string | undefined>>): void {
  for (const [field, value] of Object.entries(values)) {
    const limit = LIMITS[field as keyof typeof LIMITS]
    if (value !== undefined) checkLength(field, value, limit)
  }
}
