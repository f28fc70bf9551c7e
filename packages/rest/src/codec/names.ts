import { type DescEnum, getOption } from '@bufbuild/protobuf'
import { zero_has_name } from '@millrace/proto/millrace/options/v1/rest_pb'

/** Numbers of an enum by their name in JSON: that of the proto without the enum's prefix. */
export function enumNumbers(desc: DescEnum): Map<string, number> {
  const prefix = desc.sharedPrefix?.toUpperCase() ?? ''
  const numbers = new Map<string, number>()
  for (const { name, number } of desc.values) {
    if (number !== 0) numbers.set(name.slice(prefix.length), number)
    else if (getOption(desc, zero_has_name)) numbers.set(name, number)
  }
  return numbers
}

export function enumNames(desc: DescEnum): Record<number, string> {
  const names: Record<number, string> = {}
  for (const [name, number] of enumNumbers(desc)) names[number] = name
  return names
}
