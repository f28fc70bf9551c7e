import type { Caller } from '@millrace/kit/call-context'
import type { Dialect, Fragment } from '../dialects/dialect.ts'
import type { Column, Shape } from './shape.ts'

/** The runs `r` of some experiments: what stands after FROM, a condition, and the start time to sort by. */
export interface RunSource {
  from: Fragment
  where: Fragment
  startTime: Fragment
}

export interface Page<R> {
  /** Rows of [id, sort key] in order. */
  readonly ids: readonly (readonly [id: string, sortKey: string | null])[]
  /** Whether another row follows the page. */
  readonly more: boolean
  /** The page's records in order, a slice at a time; other work runs in between. */
  slices(): AsyncIterable<R[]>
}

/** Rows of a SELECT, column by column, some hundred rows at a time; other work runs in between. */
export interface Blocks {
  /** How long the texts are that stay in memory until all is read, about. */
  readonly characters: number
  blocks(): AsyncIterable<unknown[][]>
}

/**
 * How stores read. A record is what its shape says; long reads never run on the thread that serves requests, and
 * all end when their caller has gone.
 */
export interface Reads extends AsyncDisposable {
  readonly dialect: Dialect
  runsOf(experimentIds: readonly bigint[]): RunSource
  /** A read that is short by nature. */
  one<R>(shape: Shape, id: string, caller?: Caller): Promise<R | undefined>
  /** @param ids answers rows of `id` and `sort_key`, one more than the page where another follows. */
  page<R>(shape: Shape, ids: Fragment, pageSize: number, caller?: Caller): Promise<Page<R>>
  /** All records whose `id` a SELECT answers, in its order. Their children are `rows`. */
  list<R>(shape: Shape, ids: Fragment, caller?: Caller): AsyncIterable<R[]>
  /** Rows of an ordered SELECT whose columns have these names, after the alias `m`. */
  rows<R>(select: Fragment, columns: readonly Column[], caller?: Caller): AsyncIterable<R[]>
  /** The same, where there may be very many. */
  blocks(select: Fragment, columns: readonly Column[], caller?: Caller): Promise<Blocks>
}
