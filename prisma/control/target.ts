/** Where the control database is. */
export type ControlTarget =
  | { readonly provider: 'sqlite'; readonly path: string }
  | { readonly provider: 'postgresql'; readonly url: string }

/** The schema of our tables inside a PostgreSQL database. */
export const CONTROL_SCHEMA = 'millrace'

export const CONNECT_TIMEOUT_MS = 5_000
export const STATEMENT_TIMEOUT_MS = 60_000

/** The target that a SQLAlchemy-style URI names; undefined when it is neither a SQLite file (jobs outlive the process) nor PostgreSQL. */
export function parseControlUri(uri: string): ControlTarget | undefined {
  const path = /^sqlite(?:\+\w+)?:\/\/\/([^?]+)/.exec(uri)?.[1]
  if (path !== undefined) return path === ':memory:' ? undefined : { provider: 'sqlite', path }
  const postgresql = /^postgres(?:ql)?(?:\+\w+)?:\/\/(.+)$/.exec(uri)
  return postgresql ? { provider: 'postgresql', url: `postgresql://${postgresql[1]}` } : undefined
}
