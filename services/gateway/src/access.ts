import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  getOption,
  hasOption,
  type MessageInitShape,
} from '@bufbuild/protobuf'
import { type Access, AccessSchema, Action, access, type Need } from '@millrace/proto/millrace/options/v1/access_pb'
import { isInternal } from '@millrace/rest/bindings'

/** Who may call a raw route: the same rule as the option `access` of a method. `from` names variables of the path or query parameters. */
export type AccessRule = MessageInitShape<typeof AccessSchema>

/** The part of a raw route that is checked. */
interface Route {
  readonly method: string
  readonly pattern: string
  readonly access: AccessRule
}

/** Types of resource, as MLflow's permissions name them. */
const RESOURCES = new Set([
  ...['workspace', 'experiment', 'run', 'trace', 'assessment', 'logged_model', 'review_queue'],
  ...['registered_model', 'registered_model_version', 'prompt', 'prompt_version', 'scorer', 'scorer_version'],
  ...['gateway_secret', 'gateway_endpoint', 'gateway_model_definition', 'mcp_server', 'mcp_server_version'],
])
const FUNCTION_NAME = /^[a-z][A-Za-z]*$/
/** Actions that need no id. */
const WITHOUT_ID: readonly Action[] = [Action.CREATE, Action.NOT_DENIED]

/** @throws when a public method or a raw route has no access rule, or one that can't be followed. */
export function checkAccess(services: readonly { readonly service: DescService }[], routes: readonly Route[]): void {
  for (const method of services.flatMap(({ service }) => service.methods)) {
    const name = `${method.parent.typeName}/${method.name}`
    const fault = faultOfMethod(method)
    if (fault !== undefined) throw new Error(`${name} ${fault}`)
  }
  for (const route of routes) {
    const fault = faultOf(create(AccessSchema, route.access))
    if (fault !== undefined) throw new Error(`${route.method} ${route.pattern} ${fault}`)
  }
}

function faultOfMethod(method: DescMethod): string | undefined {
  if (isInternal(method)) return hasOption(method, access) ? 'is internal and has an access rule' : undefined
  if (!hasOption(method, access)) return 'has no access rule'
  return faultOf(getOption(method, access), method.input)
}

/** Why a rule can't be followed, if so. @param input message whose fields `from` names. */
function faultOf(rule: Access, input?: DescMessage): string | undefined {
  const { public: isPublic, signedIn, admin, needs, own, visible } = rule
  const kinds = [isPublic, signedIn, admin, needs.length > 0, own !== ''].filter(Boolean).length
  if (kinds === 0 && visible === '') return 'has no access rule'
  if (kinds > 1 || (visible !== '' && (isPublic || signedIn || admin))) return 'has more than one access rule'
  if (own !== '' && !FUNCTION_NAME.test(own)) return `names '${own}', which is no function`
  if (visible !== '' && !RESOURCES.has(visible)) return `limits what is visible to the unknown type '${visible}'`
  return needs.map(need => faultOfNeed(need, input)).find(fault => fault !== undefined)
}

function faultOfNeed({ on, from, action }: Need, input: DescMessage | undefined): string | undefined {
  if (!RESOURCES.has(on)) return `needs something on the unknown type '${on}'`
  if (action === Action.UNSPECIFIED || Action[action] === undefined) return `needs an unknown action on '${on}'`
  if (from === '') return WITHOUT_ID.includes(action) ? undefined : `doesn't say which ${on} it needs`
  const unknown = input && from.split('|').find(path => !isField(input, path))
  return unknown === undefined ? undefined : `needs a ${on} named by the unknown field '${unknown}'`
}

/** Whether a path like `metrics.model_id` leads to a text or a list of texts. */
function isField(desc: DescMessage, path: string): boolean {
  const [name, ...rest] = path.split('.')
  const field = desc.fields.find(one => one.name === name)
  if (!field) return false
  if (rest.length > 0) return field.message !== undefined && isField(field.message, rest.join('.'))
  return field.message === undefined && field.enum === undefined
}
