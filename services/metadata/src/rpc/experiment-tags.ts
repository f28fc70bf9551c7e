import { invalidParameter } from '@millrace/kit/errors'
import type { Tag } from '../store/experiments/experiments.ts'
import { checkKey, checkLength, KEY_LENGTH_MAX } from './checks.ts'

const VALUE_LENGTH_MAX = 20_000
const CUSTOM_VIEWS_MAX = 50
const CUSTOM_VIEW = 'mlflow.customView.view'

export const isCustomView = (key: string) => key.startsWith(CUSTOM_VIEW)

/** @throws INVALID_PARAMETER_VALUE when `tags`, with those of `experiment` among them, hold too many views of MLflow's web UI. */
export function checkCustomViews(tags: readonly { key: string }[], experiment?: { experiment_id: number }): void {
  if (tags.filter(tag => isCustomView(tag.key)).length <= CUSTOM_VIEWS_MAX) return
  const where = experiment ? ` for experiment ${experiment.experiment_id}` : ''
  throw invalidParameter(
    `Unable to create another custom view${where}; the maximum number of custom views per experiment is ${CUSTOM_VIEWS_MAX}. ` +
      'Delete an existing custom view before creating a new one.',
  )
}

export function checkExperimentTag({ key, value }: Tag): void {
  checkKey(key, 'key')
  checkLength('key', key, KEY_LENGTH_MAX)
  checkLength('value', value, VALUE_LENGTH_MAX)
  if (key === 'mlflow.trace.archivalRetention') checkDuration(value, 'value', 'duration')
  else if (key === 'mlflow.trace.archiveNow') checkDuration(value, 'older_than')
}

const DURATION_LENGTH_MAX = 32

/** A JSON object whose member `name` is a duration such as `30d`; of the given type, or else the member may be absent. */
function checkDuration(text: string, name: string, type?: string): void {
  const payload = parseObject(text)
  if (!payload) throw invalidParameter('Trace archival config must be encoded as a JSON object.')
  if (type !== undefined && payload.type !== type) throw invalidParameter(`Trace archival config must use type '${type}'.`)
  const value = payload[name] ?? undefined
  if (value === undefined && type === undefined) return
  if (typeof value === 'string' && value.trim().length > DURATION_LENGTH_MAX) {
    throw invalidParameter('Trace archival duration must be at most 32 characters.')
  }
  if (typeof value !== 'string' || !/^[1-9][0-9]*[mhd]$/.test(value.trim())) {
    throw invalidParameter("Trace archival retention must be in the form `<int><unit>`, where unit is one of 'm', 'h', or 'd'.")
  }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
