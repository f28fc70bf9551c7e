/** What is known of an attribute of logged models: they are searched and ordered by their columns' names. */
const COLUMNS = {
  model_id: 'text',
  experiment_id: 'integer',
  name: 'text',
  artifact_location: 'text',
  creation_timestamp_ms: 'time',
  last_updated_timestamp_ms: 'time',
  status: 'integer',
  lifecycle_stage: 'text',
  model_type: 'text',
  source_run_id: 'text',
  status_message: 'text',
} as const

const OTHER_NAMES: Readonly<Record<string, LoggedModelTime>> = {
  creation_time: 'creation_timestamp_ms',
  creation_timestamp: 'creation_timestamp_ms',
  last_updated_timestamp: 'last_updated_timestamp_ms',
}

export type LoggedModelColumn = keyof typeof COLUMNS
export type LoggedModelTime = 'creation_timestamp_ms' | 'last_updated_timestamp_ms'

/** The column of an attribute by one of its names. */
export function columnOf(name: string): LoggedModelColumn | undefined {
  if (Object.hasOwn(OTHER_NAMES, name)) return OTHER_NAMES[name]
  return Object.hasOwn(COLUMNS, name) ? (name as LoggedModelColumn) : undefined
}

/** Whether `name` is an attribute that filters compare as a number. */
export function isTime(name: string): boolean {
  const column = columnOf(name)
  return column !== undefined && COLUMNS[column] === 'time'
}

export const isText = (column: LoggedModelColumn): boolean => COLUMNS[column] === 'text'
