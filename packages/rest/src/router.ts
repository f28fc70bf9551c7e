export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

export type PathParams = Readonly<Record<string, string>>

/** Handlers of one path by method. */
interface Resource<T> {
  readonly methods: Map<string, T>
  allow: string
}

export type Match<T> = { readonly target: T; readonly params: PathParams } | { readonly target: undefined; readonly allow: string }

interface Pattern<T> {
  readonly expression: RegExp
  readonly names: readonly string[]
  readonly resource: Resource<T>
}

const NO_PARAMS: PathParams = Object.freeze({})

/**
 * Finds what serves a path. Patterns are those of google.api.http: literal segments, `{name}` for one segment and a last
 * `{name=**}` for the rest. Literal paths are looked up first, then patterns in the order they were added. A match without the method is
 * passed over for a later one.
 */
export class Router<T> {
  readonly #exact = new Map<string, Resource<T>>()
  readonly #patterns: Pattern<T>[] = []

  /** GET also answers HEAD. A second target for the same method and path is ignored. */
  add(method: Method, pattern: string, target: T): void {
    const resource = this.#resource(pattern)
    const { methods } = resource
    if (!methods.has(method)) methods.set(method, target)
    if (method === 'GET' && !methods.has('HEAD')) methods.set('HEAD', target)
    resource.allow = [...(methods.has('GET') ? ['HEAD', 'GET', 'OPTIONS'] : ['OPTIONS']), ...[...methods.keys()].filter(isChange)].join(
      ', ',
    )
  }

  /** Undefined for an unknown path; without a target, and with the methods for an Allow header, for another method. */
  find(method: string, path: string): Match<T> | undefined {
    const resource = this.#exact.get(path)
    let other = resource && choose(resource, method, NO_PARAMS)
    if (other?.target !== undefined) return other
    for (const { expression, names, resource } of this.#patterns) {
      const found = expression.exec(path)
      if (!found) continue
      const params: Record<string, string> = {}
      for (let i = 0; i < names.length; i++) params[names[i] ?? ''] = found[i + 1] ?? ''
      const match = choose(resource, method, params)
      if (match.target !== undefined) return match
      other ??= match
    }
    return other
  }

  #resource(pattern: string): Resource<T> {
    if (!pattern.includes('{')) {
      const known = this.#exact.get(pattern) ?? { methods: new Map(), allow: '' }
      this.#exact.set(pattern, known)
      return known
    }
    const names: string[] = []
    const source = pattern.replace(/[.*+?^$()|[\]\\]|\{(\w+)(=\*\*)?\}/g, (text, name?: string, rest?: string) => {
      if (name === undefined) return `\\${text}`
      names.push(name)
      return rest ? '([^]+)' : '([^/]+)'
    })
    const expression = new RegExp(`^${source}$`)
    const known = this.#patterns.find(one => one.expression.source === expression.source)
    if (known) return known.resource
    const resource: Resource<T> = { methods: new Map(), allow: '' }
    this.#patterns.push({ expression, names, resource })
    return resource
  }
}

const isChange = (method: string) => method !== 'GET' && method !== 'HEAD'

function choose<T>(resource: Resource<T>, method: string, params: PathParams): Match<T> {
  const target = resource.methods.get(method)
  return target === undefined ? { target: undefined, allow: resource.allow } : { target, params }
}
