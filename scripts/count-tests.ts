/**
 * Reads Vitest's JSON report: prints "PASSED FAILED SKIPPED", and on standard error the name of each test that failed or was
 * skipped, with the first line of why.
 * A file that could not be loaded counts as one failure.
 *
 *     node scripts/count-tests.ts REPORT.json
 */
import { readFileSync } from 'node:fs'
import { relative } from 'node:path'

interface Report {
  testResults: {
    name: string
    status: string
    message: string
    assertionResults: { fullName: string; status: string; failureMessages?: string[]; meta?: { note?: string } }[]
  }[]
}

const MESSAGE_CHARACTERS_MAX = 2000

const [path = ''] = process.argv.slice(2)
const report: Report = JSON.parse(readFileSync(path, 'utf8'))
const counts = { passed: 0, failed: 0, skipped: 0 }

for (const file of report.testResults) {
  const name = relative(process.cwd(), file.name)
  if (file.status === 'failed' && !file.assertionResults.some(test => test.status === 'failed')) {
    counts.failed += 1
    console.error(`FAILED ${name}: ${file.message.split('\n', 1)[0]}`)
  }
  for (const test of file.assertionResults) {
    const outcome = test.status === 'passed' || test.status === 'failed' ? test.status : 'skipped'
    counts[outcome] += 1
    if (outcome !== 'passed')
      console.error(`${outcome.toUpperCase()} ${name}: ${test.fullName}${test.meta?.note ? ` (${test.meta.note})` : ''}`)
    for (const message of test.failureMessages ?? []) console.error(`  ${message.split('\n', 1)[0]?.slice(0, MESSAGE_CHARACTERS_MAX)}`)
  }
}
console.log(counts.passed, counts.failed, counts.skipped)
