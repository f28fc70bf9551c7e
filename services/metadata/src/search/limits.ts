import { invalidParameter } from '@millrace/kit/errors'

/** Of a filter, and of all items of an order_by together: a list of 5,000 run ids fits. */
export const SEARCH_CHARACTERS_MAX = 200_000
/** Comparisons of a filter, and data sets whose points a search looks at: each is a look into a table for every run or model. */
const CONDITIONS_MAX = 50
/** Items of order_by. */
const ORDER_FIELDS_MAX = 50
/** Experiments of a search; clients name all that there are to search everywhere. */
const EXPERIMENTS_MAX = 20_000
/** Of LIKE and ILIKE: SQLite takes 50,000 bytes, and no value that is stored is longer. */
const PATTERN_CHARACTERS_MAX = 16_000

/** @throws INVALID_PARAMETER_VALUE with what is allowed, the same on every database. */
function check(what: string, count: number, max: number): void {
  if (count > max) throw invalidParameter(`${what}: at most ${max} are allowed, the request has ${count}.`)
}

export const checkFilterLength = (filter: string) => check("Too many characters in 'filter'", filter.length, SEARCH_CHARACTERS_MAX)

export const checkConditions = (count: number) => check('Too many conditions in the filter string', count, CONDITIONS_MAX)

export const checkDatasets = (count: number) => check("Too many 'datasets'", count, CONDITIONS_MAX)

export const checkExperiments = (count: number) => check("Too many 'experiment_ids'", count, EXPERIMENTS_MAX)

export const checkPattern = (pattern: string) => check('Too many characters in a LIKE pattern', pattern.length, PATTERN_CHARACTERS_MAX)

export function checkOrderBy(fields: readonly string[]): void {
  check("Too many fields in 'order_by'", fields.length, ORDER_FIELDS_MAX)
  const characters = fields.reduce((sum, field) => sum + field.length, 0)
  check("Too many characters in 'order_by'", characters, SEARCH_CHARACTERS_MAX)
}
