import { expect, test } from 'vitest'
import { isRemovable } from '../src/jobs/locations.ts'

test.each([
  ['/', false],
  ['/data/../..', false],
  ['file:///data/%2e%2e/%2E%2E', false],
  ['file:///data/a%2f..%2f..', false],
  ['./../x', false],
  ['s3://bucket', false],
  ['s3://bucket/', false],
  ['http://host:5000/api/2.0/mlflow-artifacts/artifacts/', false],
  ['mlflow-artifacts:/', false],
  ['mlflow-artifacts:/1/run/artifacts', true],
  ['./mlruns/1/run/artifacts', true],
  ['s3://bucket//team/1', true],
  ['file:///data/a%20b', true],
  ['/data/100%', true],
])('whether all of %s may be removed: %j', (uri, answer) => {
  expect(isRemovable(uri)).toBe(answer)
})
