import { invalidParameter } from '@millrace/kit/errors'
import { floatRepr, setRepr } from '../search/python.ts'

const MANDATORY = ['artifact_path', 'flavors', 'utc_time_created', 'run_id']

/** A number as the JSON text wrote it: Python keeps 1.0 and 1 apart, and integers of any size. */
class RawNumber {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

type Json = string | boolean | null | RawNumber | Json[] | { [key: string]: Json }

/**
 * What MLflow's tag `mlflow.log-model.history` keeps of a model: its place, time, id and flavors without their configuration.
 * @returns JSON text in Python's spacing, as other MLflow servers write it.
 * @throws INVALID_PARAMETER_VALUE for a model that is no JSON or lacks a field.
 */
export function modelSummary(modelJson: string): string {
  let model: Json
  try {
    model = JSON.parse(modelJson, exactNumbers) as Json
  } catch (cause) {
    throw invalidParameter(`Malformed model info. \n ${modelJson} \n is not a valid JSON.`, { cause })
  }
  if (!isObject(model)) throw invalidParameter('Model info must be a JSON object.')
  const missing = MANDATORY.filter(field => !Object.hasOwn(model, field))
  if (missing.length > 0) throw invalidParameter(`Model json is missing mandatory fields: ${setRepr(missing)}`)
  const { run_id, artifact_path, utc_time_created, model_uuid = null, flavors } = model
  if (flavors !== null && !isObject(flavors as Json)) throw invalidParameter('Model info is malformed: flavors must be a JSON object.')
  const summary: Record<string, Json> = {}
  if (run_id !== null) summary.run_id = run_id as Json
  if (artifact_path !== null) summary.artifact_path = artifact_path as Json
  summary.utc_time_created = typeof utc_time_created === 'string' ? utc_time_created : pythonJson(utc_time_created as Json)
  summary.model_uuid = model_uuid
  summary.flavors = flavors === null ? {} : withoutConfig(flavors as Record<string, Json>)
  return pythonJson(summary)
}

const exactNumbers = (_: string, value: unknown, context?: { source?: string }) =>
  typeof value === 'number' ? new RawNumber(context?.source ?? String(value)) : value

const isObject = (value: Json): value is { [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof RawNumber)

const withoutConfig = (flavors: Record<string, Json>) =>
  Object.fromEntries(
    Object.entries(flavors).map(([name, flavor]) => {
      if (!isObject(flavor)) return [name, flavor]
      const { config: _, ...rest } = flavor
      return [name, rest]
    }),
  )

/** JSON with Python's spacing, ASCII only. */
function pythonJson(value: Json): string {
  if (value instanceof RawNumber) return /[.eE]/.test(value.text) ? floatRepr(Number(value.text)) : value.text
  if (Array.isArray(value)) return `[${value.map(pythonJson).join(', ')}]`
  if (isObject(value))
    return `{${Object.entries(value)
      .map(([k, v]) => `${pythonJson(k)}: ${pythonJson(v)}`)
      .join(', ')}}`
  return JSON.stringify(value).replace(/[\u007f-\uffff]/g, c => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
