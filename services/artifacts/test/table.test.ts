import { readFile } from 'node:fs/promises'
import { OPTIONS } from '@millrace/server/cli/options'
import { expect, test } from 'vitest'
import { SCHEMES, STORES } from '../src/drivers/table.ts'

test('the documentation has a row for every kind of store, with its schemes and what clients can do', async () => {
  const page = await readFile(new URL('../../../docs/artifact-stores/README.md', import.meta.url), 'utf8')
  const rows = page.split('\n').filter(line => line.startsWith('|'))
  for (const [name, { schemes, capabilities }] of Object.entries(STORES)) {
    const row = rows.find(line => Object.keys(schemes).every(scheme => scheme === '' || line.includes(`\`${scheme}:`)))
    expect(row, name).toBeDefined()
    const [parts, presigned] =
      row
        ?.split('|')
        .slice(-3)
        .map(cell => cell.trim()) ?? []
    expect({ parts, presigned }, name).toEqual(capabilities)
  }
})

test('--help names every scheme', () => {
  const help = OPTIONS.artifactsDestination.help
  for (const scheme of SCHEMES.keys()) expect(help).toMatch(new RegExp(`\\b${scheme}\\b`))
})
