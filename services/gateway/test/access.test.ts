import { clearExtension, create, createFileRegistry, type DescService, getExtension, setExtension } from '@bufbuild/protobuf'
import {
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  type MethodOptions,
  MethodOptionsSchema,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt'
import { AccessSchema, Action, access } from '@millrace/proto/millrace/options/v1/access_pb'
import { internal } from '@millrace/proto/millrace/options/v1/rest_pb'
import { MetricService } from '@millrace/proto/millrace/tracking/v1/metrics_pb'
import { describe, expect, test } from 'vitest'
import { type AccessRule, checkAccess } from '../src/access.ts'
import { rawRoutes } from '../src/http/index.ts'
import { startWith } from './fixture.ts'

/** A service with one method, whose request has the field `run_id`. */
function serviceWith(rule: AccessRule | undefined, isInternal = false): { service: DescService } {
  const options = create(MethodOptionsSchema)
  if (rule) setExtension(options, access, create(AccessSchema, rule))
  if (isInternal) setExtension(options, internal, true)
  const field = { name: 'run_id', jsonName: 'runId', number: 1, label: Label.OPTIONAL, type: Type.STRING }
  const file = create(FileDescriptorProtoSchema, {
    name: 'example.proto',
    package: 'example',
    syntax: 'proto3',
    messageType: [
      {
        name: 'Request',
        field: [field, { ...field, name: 'items', jsonName: 'items', number: 2, type: Type.MESSAGE, typeName: '.example.Request' }],
      },
    ],
    service: [{ name: 'Example', method: [{ name: 'Call', inputType: '.example.Request', outputType: '.example.Request', options }] }],
  })
  const service = createFileRegistry(file, () => undefined).getService('example.Example')
  if (!service) throw new Error('no service was made')
  return { service }
}

const need = (on: string, from: string, action = Action.READ): AccessRule => ({ needs: [{ on, from, action }] })

test('no gateway starts when a public method has no access rule', async () => {
  const options = MetricService.method.logMetric.proto.options as MethodOptions
  const rule = getExtension(options, access)
  clearExtension(options, access)
  try {
    await expect(startWith([])).rejects.toThrow('millrace.tracking.v1.MetricService/LogMetric has no access rule')
  } finally {
    setExtension(options, access, rule)
  }
  await using gateway = await startWith([])
  expect((await fetch(`${gateway.url}/health`)).status).toBe(200)
})

test('no gateway starts when a raw route has no access rule', () => {
  const [route, ...others] = rawRoutes
  const without = { ...route, access: {} } as (typeof rawRoutes)[number]
  expect(() => checkAccess([], [without, ...others])).toThrow('GET /health has no access rule')
  expect(() => checkAccess([], rawRoutes)).not.toThrow()
})

describe('access rules', () => {
  const followed: [string, AccessRule][] = [
    ['everybody', { public: true }],
    ['users', { signedIn: true }],
    ['administrators', { admin: true }],
    ['an id of the request', need('run', 'run_id')],
    ['an id of an item', need('run', 'run_id|items.items.run_id')],
    ['a type as a whole', need('run', '', Action.NOT_DENIED)],
    ['a function', { own: 'presignedUpload' }],
    ['what is visible', { visible: 'run' }],
    ['what is visible, with needs', { ...need('run', 'run_id'), visible: 'run' }],
  ]
  test.each(followed)('%s', (_, rule) => {
    expect(() => checkAccess([serviceWith(rule)], [])).not.toThrow()
  })

  const refused: [string, AccessRule | undefined][] = [
    ['has no access rule', undefined],
    ['has no access rule', {}],
    ['has more than one access rule', { public: true, admin: true }],
    ['has more than one access rule', { ...need('run', 'run_id'), own: 'other' }],
    ['has more than one access rule', { public: true, visible: 'run' }],
    ["names 'no function', which is no function", { own: 'no function' }],
    ["limits what is visible to the unknown type 'rum'", { visible: 'rum' }],
    ["needs something on the unknown type 'rum'", need('rum', 'run_id')],
    ["needs an unknown action on 'run'", need('run', 'run_id', Action.UNSPECIFIED)],
    ["needs an unknown action on 'run'", need('run', 'run_id', 99 as Action)],
    ["doesn't say which run it needs", need('run', '')],
    ["needs a run named by the unknown field 'id'", need('run', 'run_id|id')],
    ["needs a run named by the unknown field 'items'", need('run', 'items')],
    ["needs a run named by the unknown field 'run_id.run_id'", need('run', 'run_id.run_id')],
  ]
  test.each(refused)('refused: %s', (reason, rule) => {
    expect(() => checkAccess([serviceWith(rule)], [])).toThrow(`example.Example/Call ${reason}`)
  })

  test('internal methods have none', () => {
    expect(() => checkAccess([serviceWith(undefined, true)], [])).not.toThrow()
    expect(() => checkAccess([serviceWith({ public: true }, true)], [])).toThrow('example.Example/Call is internal and has an access rule')
  })
})
