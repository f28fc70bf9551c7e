import type { DescMessage } from '@bufbuild/protobuf'
import { invalidParameter } from '@millrace/kit/errors'

/** Refuses an object that spells one field both in snake_case and in lowerCamelCase, at any depth outside maps. */
export function rejectBothSpellings(json: unknown, desc: DescMessage): void {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return
  const object = json as Record<string, unknown>
  for (const field of desc.fields) {
    const snake = Object.hasOwn(object, field.name)
    if (snake && field.jsonName !== field.name && Object.hasOwn(object, field.jsonName)) {
      throw invalidParameter(`Request specifies both '${field.name}' and '${field.jsonName}'; provide only one of them.`)
    }
    if (field.fieldKind === 'map' || !field.message || field.message.typeName.startsWith('google.protobuf.')) continue
    const value = object[snake ? field.name : field.jsonName]
    for (const item of Array.isArray(value) ? value : [value]) rejectBothSpellings(item, field.message)
  }
}
