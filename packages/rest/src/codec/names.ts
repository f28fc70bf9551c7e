import type { DescEnum } from '@bufbuild/protobuf'

/** Enums whose zero is a value of MLflow's own; everywhere else zero is proto3's "not set" and no client may name it. */
const WITH_ZERO = new Set(['millrace.tracking.v1.LoggedModelStatus'])

/** Numbers of an enum by the name that MLflow's JSON has for it: ours without the enum's prefix. */
export function enumNumbers(desc: DescEnum): Map<string, number> {
  const prefix = desc.sharedPrefix?.toUpperCase() ?? ''
  const numbers = new Map<string, number>()
  for (const { name, number } of desc.values) {
    if (number !== 0) numbers.set(name.slice(prefix.length), number)
    else if (WITH_ZERO.has(desc.typeName)) numbers.set(name, number)
  }
  return numbers
}

export function enumNames(desc: DescEnum): Record<number, string> {
  const names: Record<number, string> = {}
  for (const [name, number] of enumNumbers(desc)) names[number] = name
  return names
}
