import type { Backend } from '../dialects/backend.ts'
import { BACKENDS } from '../dialects/table.ts'

export interface StoreTarget {
  backend: Backend
  /** What follows `scheme://`. */
  place: string
}

/** Reads a database URL in SQLAlchemy's form. @throws Error that names the scheme when Millrace has no driver for it. */
export function parseStoreUri(uri: string): StoreTarget {
  const match = /^([a-z0-9]+)(?:\+[a-z0-9_]+)?:\/\/(.*)$/is.exec(uri)
  const scheme = match?.[1]?.toLowerCase() ?? ''
  const backend = Object.values(BACKENDS).find(({ schemes }) => schemes.includes(scheme))
  if (backend) return { backend, place: match?.[2] ?? '' }
  throw new Error(`no driver for the store ${scheme ? `${scheme}://` : `'${uri}'`}: use sqlite:///FILE or postgresql://USER@HOST/DATABASE`)
}
