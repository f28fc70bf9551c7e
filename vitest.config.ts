import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['{packages,services}/*/test/**/*.test.ts', 'test/**/*.test.ts'],
    globalSetup: ['test/services/global-setup.ts'],
    pool: 'forks',
    maxWorkers: 2,
    // Generous: a machine may be several times slower, and no test is about how long it takes.
    testTimeout: 180_000,
    expect: { poll: { timeout: 20_000 } },
    // The first test that needs MLflow makes its Python environment: two minutes.
    hookTimeout: 600_000,
    // .ci/run counts what the second one writes.
    reporters: process.env.CI ? ['default', ['json', { outputFile: '.cache/vitest.json' }]] : ['default'],
  },
})
