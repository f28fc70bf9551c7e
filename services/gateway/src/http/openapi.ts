import { type DescEnum, type DescField, type DescMessage, type DescMethod, ScalarType } from '@bufbuild/protobuf'
import { type Binding, bindingsOf, isInternal, unaryMethods } from '@millrace/rest/bindings'
import { enumNumbers } from '@millrace/rest/codec/names'
import { publicServices } from '../rpc/services.ts'
import { MLFLOW_VERSION } from './probes.ts'
import { writeJson } from './respond.ts'
import type { RawRoute } from './route.ts'

type Schema = Record<string, unknown>

/** The REST API as an OpenAPI 3.1 document, made from the same options as the routes. */
export const openapi: RawRoute = {
  method: 'GET',
  pattern: '/openapi.json',
  access: { signedIn: true },
  handle(_req, res, _params, ctx) {
    const rpcs = publicServices(ctx).flatMap(one => unaryMethods(one.service))
    writeJson(res, JSON.stringify(documentOf(rpcs, ctx.config.staticPrefix)))
  },
}

function documentOf(rpcs: readonly DescMethod[], staticPrefix: string): Schema {
  const schemas: Record<string, Schema> = { Error: ERROR }
  const paths: Record<string, Record<string, Schema>> = {}
  for (const rpc of rpcs) {
    if (isInternal(rpc)) continue
    bindingsOf(rpc).forEach((binding, i) => {
      const path = staticPrefix + binding.pattern.replaceAll('=**}', '}')
      paths[path] ??= {}
      paths[path][binding.method.toLowerCase()] = operation(rpc, binding, i, schemas)
    })
  }
  return { openapi: '3.1.0', info: { title: 'Millrace', version: MLFLOW_VERSION }, paths, components: { schemas } }
}

const ERROR: Schema = {
  type: 'object',
  required: ['error_code', 'message'],
  properties: {
    error_code: { type: 'string' },
    message: { type: 'string' },
    sqlstate: { type: 'string' },
    error_class: { type: 'string' },
  },
}

function operation(rpc: DescMethod, binding: Binding, index: number, schemas: Record<string, Schema>): Schema {
  const inPath = [...binding.pattern.matchAll(/\{(\w+)/g)].map(found => found[1])
  const parameters: Schema[] = inPath.map(name => ({ name, in: 'path', required: true, schema: { type: 'string' } }))
  const hasBody = binding.method !== 'GET' && rpc.input.fields.some(field => !inPath.includes(field.name))
  if (binding.method === 'GET') {
    for (const field of rpc.input.fields) {
      if (!inPath.includes(field.name)) parameters.push({ name: field.name, in: 'query', schema: fieldSchema(field, schemas) })
    }
  }
  return {
    operationId: `${rpc.parent.name}.${rpc.name}${index === 0 ? '' : `.${index + 1}`}`,
    tags: [rpc.parent.name],
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(hasBody ? { requestBody: { content: json(reference(rpc.input, schemas)) } } : {}),
    responses: {
      200: { description: rpc.output.name, content: json(reference(rpc.output, schemas)) },
      default: { description: 'An error', content: json({ $ref: '#/components/schemas/Error' }) },
    },
  }
}

const json = (schema: Schema): Schema => ({ 'application/json': { schema } })

function reference(desc: DescMessage, schemas: Record<string, Schema>): Schema {
  const name = desc.typeName.replace(/^millrace\./, '')
  if (!schemas[name]) {
    const properties: Record<string, Schema> = {}
    schemas[name] = { type: 'object', properties }
    for (const field of desc.fields) properties[field.name] = fieldSchema(field, schemas)
  }
  return { $ref: `#/components/schemas/${name}` }
}

function fieldSchema(field: DescField, schemas: Record<string, Schema>): Schema {
  switch (field.fieldKind) {
    case 'list':
      return { type: 'array', items: valueSchema(field, schemas) }
    case 'map':
      return { type: 'object', additionalProperties: valueSchema(field, schemas) }
    default:
      return valueSchema(field, schemas)
  }
}

function valueSchema(field: DescField, schemas: Record<string, Schema>): Schema {
  if (field.message) return reference(field.message, schemas)
  if (field.enum) return enumSchema(field.enum)
  return scalarSchema(field.scalar)
}

const enumSchema = (desc: DescEnum): Schema => ({ type: 'string', enum: [...enumNumbers(desc).keys()] })

function scalarSchema(type: ScalarType): Schema {
  switch (type) {
    case ScalarType.STRING:
      return { type: 'string' }
    case ScalarType.BYTES:
      return { type: 'string', contentEncoding: 'base64' }
    case ScalarType.BOOL:
      return { type: 'boolean' }
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return { type: ['number', 'string'], description: 'A number, or "NaN", "Infinity", "-Infinity".' }
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return { type: 'integer', format: 'int64' }
    default:
      return { type: 'integer', format: 'int32' }
  }
}
