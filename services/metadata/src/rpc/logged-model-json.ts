import { invalidParameter } from '@millrace/kit/errors'
import { type PyJson, parsePython, pythonFloat } from '@millrace/kit/python-json'
import { shorten } from '@millrace/kit/shown'
import { setRepr } from '../search/python.ts'

const MANDATORY = ['artifact_path', 'flavors', 'utc_time_created', 'run_id']

/**
 * What MLflow's tag `mlflow.log-model.history` keeps of a model: its place, time, id and flavors without their configuration.
 * @returns JSON text in Python's spacing, as other MLflow servers write it.
 * @throws INVALID_PARAMETER_VALUE for a model that is no JSON or lacks a field.
 */
export function loggedModelSummary(modelJson: string): string {
  let model: PyJson
  try {
    model = parsePython(modelJson)
  } catch (cause) {
    throw invalidParameter(`Malformed model info. \n ${shorten(modelJson)} \n is not a valid JSON.`, { cause })
  }
  if (!isObject(model)) throw invalidParameter('Model info must be a JSON object.')
  const missing = MANDATORY.filter(field => !Object.hasOwn(model, field))
  if (missing.length > 0) throw invalidParameter(`Model json is missing mandatory fields: ${setRepr(missing)}`)
  const { run_id, artifact_path, utc_time_created, model_uuid = null, flavors } = model
  if (flavors !== null && !isObject(flavors as PyJson)) throw invalidParameter('Model info is malformed: flavors must be a JSON object.')
  const summary: Record<string, PyJson> = {}
  if (run_id !== null) summary.run_id = run_id as PyJson
  if (artifact_path !== null) summary.artifact_path = artifact_path as PyJson
  summary.utc_time_created = typeof utc_time_created === 'string' ? utc_time_created : pythonJson(utc_time_created as PyJson)
  summary.model_uuid = model_uuid
  summary.flavors = flavors === null ? {} : withoutConfig(flavors as Record<string, PyJson>)
  return pythonJson(summary)
}

const isObject = (value: PyJson): value is { [key: string]: PyJson } => typeof value === 'object' && value !== null && !Array.isArray(value)

const withoutConfig = (flavors: Record<string, PyJson>) =>
  Object.fromEntries(
    Object.entries(flavors).map(([name, flavor]) => {
      if (!isObject(flavor)) return [name, flavor]
      const { config: _, ...rest } = flavor
      return [name, rest]
    }),
  )

/** JSON with Python's spacing, ASCII only. */
function pythonJson(value: PyJson): string {
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return pythonFloat(value)
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`
  if (isObject(value))
    return `{${Object.entries(value)
      .map(([k, v]) => `${pythonJson(k)}: ${pythonJson(v)}`)
      .join(', ')}}`
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
