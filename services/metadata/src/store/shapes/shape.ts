/** A value that is read: as it is, an integer of 64 bits, or a real number that is null where `isNan` holds. */
export type Column = string | { integer: string } | { real: string; isNan: string }

/** Rows that belong to a parent. */
export interface Children {
  /** With its alias. */
  table: string
  /** What is joined to it, one row to one. */
  join?: string
  where?: string
  /** The column that names the parent; of `few` it is read first. */
  parent: string
  columns: readonly Column[]
  /** By insertion where the database knows it, or by a column's bytes. */
  order?: { inserted: string } | { bytes: string }
  /**
   * How a record holds them: a list for each column, where parents have many; a list for each row; or the same where few parents have any,
   * so that a page looks for them once.
   */
  as: 'columns' | 'rows' | 'few'
  /** Rows that belong to each of these, which then are a pair: the row and the list of those. */
  children?: Omit<Children, 'as' | 'children'> & { of: string }
}

/** What a noun reads: a record is a list of the parent's columns, the first its id, followed by its children of each kind, the few last. */
export interface Shape {
  /** In statement names. */
  name: string
  /** With its alias. */
  table: string
  key: string
  /** What the key is. */
  ids: 'text' | 'integer'
  columns: readonly Column[]
  children: readonly Children[]
}

/** Integers that a double cannot hold exactly are texts. */
export type JsonInteger = number | string
