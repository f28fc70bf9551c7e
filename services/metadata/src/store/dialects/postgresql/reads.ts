import type { Database } from '../../db.ts'
import { type JsonSource, openJsonReads } from '../../shapes/json-reads.ts'
import type { Reads } from '../../shapes/reads.ts'
import { readPage, readTexts, slice } from '../../shapes/slices.ts'
import { POSTGRESQL_JSON } from './json.ts'
import { GroupedLookups } from './lookups.ts'
import { PostgresStatistics } from './statistics.ts'

/** The server does the work; what its searches join is analysed as it grows. */
export function openPostgresReads(db: Database): Reads {
  const stack = new AsyncDisposableStack()
  const statistics = stack.use(new PostgresStatistics(db))
  const source: JsonSource = {
    lookup(statement) {
      const grouped = stack.use(new GroupedLookups(db, statement))
      return (id, caller) => grouped.get(id, caller)
    },
    rows: async (statement, caller) => slice(await readTexts(db, statement, caller)),
    page(job, caller) {
      statistics.keepUp()
      return readPage(db, job, caller)
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
  return openJsonReads(db, source, POSTGRESQL_JSON)
}
