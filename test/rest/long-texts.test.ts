import { join } from 'node:path'
import { type DescField, type DescMessage, getOption, ScalarType } from '@bufbuild/protobuf'
import { http } from '@millrace/proto/google/api/annotations_pb'
import { LoggedModelArtifactService } from '@millrace/proto/millrace/artifacts/v1/logged_model_artifacts_pb'
import { ArtifactProxyService } from '@millrace/proto/millrace/artifacts/v1/proxy_pb'
import { RunArtifactService } from '@millrace/proto/millrace/artifacts/v1/run_artifacts_pb'
import { GarbageCollectionService } from '@millrace/proto/millrace/jobs/v1/garbage_collection_pb'
import { internal } from '@millrace/proto/millrace/options/v1/rest_pb'
import { DatasetService } from '@millrace/proto/millrace/tracking/v1/datasets_pb'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import { MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { RunService } from '@millrace/proto/millrace/tracking/v1/runs_pb'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type HttpClient, httpClient } from '../services/http.ts'
import { type Millrace, startMillrace } from '../services/millrace.ts'
import { type TempFolder, tempFolder } from '../services/process.ts'

let folder: TempFolder
let server: Millrace
let client: HttpClient

beforeAll(async () => {
  folder = await tempFolder('texts')
  server = await startMillrace({
    cwd: folder.path,
    backendStoreUri: `sqlite:///${folder.path}/mlflow.db`,
    artifactsDestination: join(folder.path, 'artifacts'),
  })
  client = httpClient(server.url)
})

afterAll(async () => {
  client?.[Symbol.dispose]()
  await server?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

const SERVICES = [
  ...[ExperimentService, RunService, MetricService, DatasetService, LoggedModelService],
  ...[ArtifactProxyService, RunArtifactService, LoggedModelArtifactService, GarbageCollectionService],
]
const DEPTH_MAX = 3

/** Each is the bane of some expression or loop. */
const PARTS = ['a', ';', '/', '%41', '1', "'", 'x://a:', ' ', './', "a.b = 'c' and ", '\0', '🎉', '"', '(']
const MEGABYTE = 1_000_000

/** Every field of a request, also those within its messages. */
function* fieldsOf(desc: DescMessage, depth = 0): Generator<DescField> {
  for (const field of desc.fields) {
    yield field
    if (field.message && depth < DEPTH_MAX) yield* fieldsOf(field.message, depth + 1)
  }
}

/** A request with something in every field, and `text` in one of them. */
function requestWith(desc: DescMessage, long: DescField, text: string, depth = 0): Record<string, unknown> {
  const entries = desc.fields.flatMap(field => {
    const value = field === long ? longValue(field, text) : shortValue(field, long, text, depth)
    return value === undefined ? [] : [[field.name, value]]
  })
  return Object.fromEntries(entries)
}

function longValue(field: DescField, text: string): unknown {
  if (field.fieldKind === 'map') return { [text]: text }
  return field.fieldKind === 'list' && field.listKind !== 'message' ? [text] : text
}

function shortValue(field: DescField, long: DescField, text: string, depth: number): unknown {
  if (field.fieldKind === 'map' || field.fieldKind === 'enum') return undefined
  const { message } = field
  if (message && depth > DEPTH_MAX) return undefined
  const one = message ? requestWith(message, long, text, depth + 1) : field.scalar === ScalarType.STRING ? 'a' : 1
  return field.fieldKind === 'list' ? [one] : one
}

const methods = SERVICES.flatMap(service => service.methods).flatMap(method => {
  const { case: verb, value: pattern } = getOption(method, http)?.pattern ?? {}
  if (typeof pattern !== 'string' || !verb || getOption(method, internal)) return []
  return [{ name: method.name, verb: verb.toUpperCase(), path: pattern.replace(/\{[^}]*\}/g, 'a'), input: method.input }]
})

test.each(methods)('a text of a megabyte in any field holds nobody up: $name', async ({ verb, path, input }) => {
  let turn = path.length
  for (const field of fieldsOf(input)) {
    const part = PARTS[turn++ % PARTS.length] ?? ''
    const body = JSON.stringify(requestWith(input, field, part.repeat(MEGABYTE / Buffer.byteLength(part))))
    const begun = performance.now()
    const { status, text } = await client.send(verb, path, body, { 'content-type': 'application/json' })
    const shown = [field.name, part, status, text.slice(0, 200)]
    // The promise is 50 ms of the server's time; a machine that runs tests is slow, and a time that grows with the square takes minutes.
    expect(performance.now() - begun, shown.join()).toBeLessThan(5_000)
    expect(status === 501 || status < 500, shown.join()).toBe(true)
    expect(text.length, shown.join()).toBeLessThan(5_000)
  }
})
