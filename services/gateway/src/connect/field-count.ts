import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf'

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const FIXED32 = 5
const LENGTH_BITS_MAX = 28

/** The bytes aren't a message in protobuf's wire format. */
export class NoMessage extends Error {}

/**
 * Counts the fields of a message and of those within it, and the bytes of packed lists, each of which may be a value, without making anything of
 * them. Stops above `max`. Groups, which proto3 doesn't have, are no message.
 * @throws NoMessage
 */
export function countFields(desc: DescMessage, bytes: Uint8Array, max: number): number {
  return new Scan(bytes, max).message(desc, 0, bytes.length)
}

type Content = DescMessage | 'packed' | undefined

/** Content of length-delimited fields that may be more than one value. */
const contents = new Map<DescMessage, ReadonlyMap<number, Content>>()

function contentsOf(desc: DescMessage): ReadonlyMap<number, Content> {
  const known = contents.get(desc) ?? new Map(desc.fields.map(field => [field.number, contentOf(field)]))
  contents.set(desc, known)
  return known
}

function contentOf(field: DescField): Content {
  if (field.fieldKind === 'message' || (field.fieldKind === 'list' && field.listKind === 'message')) return field.message
  const isPacked = field.fieldKind === 'list' && field.scalar !== ScalarType.STRING && field.scalar !== ScalarType.BYTES
  return isPacked ? 'packed' : undefined
}

class Scan {
  readonly #bytes: Uint8Array
  readonly #max: number
  #at = 0
  #count = 0

  constructor(bytes: Uint8Array, max: number) {
    this.#bytes = bytes
    this.#max = max
  }

  message(desc: DescMessage, from: number, end: number): number {
    const fields = contentsOf(desc)
    this.#at = from
    while (this.#at < end && this.#count <= this.#max) {
      this.#count++
      const tag = this.#varint()
      this.#value(tag & 7, end, fields.get(tag >>> 3))
    }
    if (this.#at > end) throw new NoMessage()
    return this.#count
  }

  #value(type: number, end: number, content: Content): void {
    switch (type) {
      case VARINT:
        this.#skipVarint()
        return
      case FIXED64:
        this.#at += 8
        return
      case FIXED32:
        this.#at += 4
        return
      case LENGTH: {
        const length = this.#varint()
        const last = this.#at + length
        if (last > end) throw new NoMessage()
        if (content === 'packed') this.#count += length
        else if (content) this.message(content, this.#at, last)
        if (this.#count <= this.#max) this.#at = last
        return
      }
      default:
        throw new NoMessage()
    }
  }

  /** A tag or a length. A varint of more bits than a length may have counts as too long. */
  #varint(): number {
    let value = 0
    for (let shift = 0; shift <= LENGTH_BITS_MAX; shift += 7) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw new NoMessage()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new NoMessage()
  }

  #skipVarint(): void {
    for (let i = 0; i < 10; i++) {
      const byte = this.#bytes[this.#at++]
      if (byte === undefined) throw new NoMessage()
      if (byte < 0x80) return
    }
    throw new NoMessage()
  }
}
