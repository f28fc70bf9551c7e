import type { IncomingMessage, ServerResponse } from 'node:http'
import type { HttpCall } from '@millrace/kit/http-call'
import type { Query } from '@millrace/rest/query'
import type { AccessRule } from '../access.ts'
import type { GatewayContext } from '../context.ts'
import type { Area } from '../mode.ts'

export interface RawParams {
  /** Path variables, percent-decoded once (invalid escapes stay as they are). */
  readonly path: Readonly<Record<string, string>>
  readonly query: Query
  readonly call: HttpCall
}

/** An endpoint whose body is not a message: bytes, plain text, probes. It reads the request and writes the response itself. */
export interface RawRoute {
  /** GET's handler also serves HEAD; Node omits the body. */
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** As in google.api.http: literal segments, `{name}` for one segment, `{name=**}` last for the rest of the path (not empty). */
  readonly pattern: string
  /** Also served below `/ajax-api` when the pattern begins with `/api`. */
  readonly twin?: boolean
  /** Also served without `--static-prefix`. */
  readonly unprefixed?: boolean
  /** When the mode disables this area, the route answers 503 with a text. */
  readonly area?: Area
  /** Who may call it. */
  readonly access: AccessRule
  /** Errors thrown before the headers are sent are answered in MLflow's error body. */
  handle(req: IncomingMessage, res: ServerResponse, params: RawParams, ctx: GatewayContext): void | Promise<void>
}
