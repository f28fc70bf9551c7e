import { invalidParameter } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'
import { columnOf, type LoggedModelColumn } from './logged-model-columns.ts'

/** What models are ordered by: an attribute, or the latest value of a metric, of all its points or those of a data set. */
export type LoggedModelOrder =
  | { by: 'attribute'; column: LoggedModelColumn; ascending: boolean }
  | { by: 'metric'; key: string; ascending: boolean; datasetName?: string; datasetDigest?: string }

export interface OrderField {
  fieldName: string
  ascending: boolean
  datasetName?: string
  datasetDigest?: string
}

/** @throws INVALID_PARAMETER_VALUE in MLflow's words. */
export function parseLoggedModelOrder({ fieldName, ascending, datasetName, datasetDigest }: OrderField): LoggedModelOrder {
  const dot = fieldName.indexOf('.')
  if (dot < 0) {
    const column = columnOf(fieldName)
    if (column) return { by: 'attribute', column, ascending }
    throw invalidParameter(`Invalid order by field name: ${shorten(fieldName)}`, { errorClass: 'ATTRIBUTE_NOT_FOUND', sqlstate: 'KAM04' })
  }
  if (fieldName.slice(0, dot) === 'metrics') return { by: 'metric', key: fieldName.slice(dot + 1), ascending, datasetName, datasetDigest }
  throw invalidParameter(`Invalid order by field name: ${shorten(fieldName)}. Only metrics are supported.`)
}
