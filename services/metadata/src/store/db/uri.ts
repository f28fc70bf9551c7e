import { isAbsolute, resolve } from 'node:path'

export type StoreTarget = { dialect: 'sqlite'; path: string | undefined } | { dialect: 'postgresql'; connectionString: string }

/** Reads a database URL in SQLAlchemy's form. @throws Error that names the scheme when Millrace has no driver for it. */
export function parseStoreUri(uri: string): StoreTarget {
  const match = /^([a-z0-9]+)(?:\+[a-z0-9_]+)?:\/\/(.*)$/is.exec(uri)
  const scheme = match?.[1]?.toLowerCase()
  const rest = match?.[2] ?? ''
  switch (scheme) {
    case 'sqlite':
      return { dialect: 'sqlite', path: sqlitePath(rest) }
    case 'postgresql':
    case 'postgres':
      return { dialect: 'postgresql', connectionString: `postgresql://${rest}` }
    default:
      throw new Error(
        `no driver for the store ${scheme ? `${scheme}://` : `'${uri}'`}: use sqlite:///FILE or postgresql://USER@HOST/DATABASE`,
      )
  }
}

function sqlitePath(rest: string): string | undefined {
  const file = rest.replace(/[?#].*$/, '').replace(/^\//, '')
  if (file === '' || file === ':memory:') return undefined
  return isAbsolute(file) ? file : resolve(file)
}
