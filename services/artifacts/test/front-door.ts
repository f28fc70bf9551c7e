import { request } from 'node:http'
import { checkGateway, readGateway, startGateway } from '@millrace/gateway/service'
import { listen } from '@millrace/kit/listen'
import type { Logger } from '@millrace/kit/logger'
import { createDirectTransport } from '@millrace/kit/rpc'
import { createByteClient } from '../src/byte-client/client.ts'
import { byteHandler } from '../src/http-bytes.ts'
import { checkArtifacts, openArtifacts, readArtifacts } from '../src/service.ts'

export interface FrontDoor extends AsyncDisposable {
  readonly url: string
}

interface FrontDoorOptions {
  env?: Record<string, string>
  /** Variables of the gateway. */
  gatewayEnv?: Record<string, string>
  log?: Logger
  /** The bytes go over HTTP, as between two processes. */
  apart?: boolean
}

/** A real gateway with the artifact service behind it in this process, and nothing else. */
export async function openFrontDoor(
  artifactsDestination: string,
  { env = {}, gatewayEnv = {}, log, apart }: FrontDoorOptions = {},
): Promise<FrontDoor> {
  await using stack = new AsyncDisposableStack()
  const artifacts = stack.use(await openArtifacts(checkArtifacts(readArtifacts(env, { artifactsDestination }))))
  const served = apart && stack.use(await listen({ host: '127.0.0.1', port: 0, handler: byteHandler(artifacts.bytes), drainTimeoutMs: 0 }))
  const gateway = stack.use(
    await startGateway(checkGateway(readGateway(gatewayEnv, { port: '0', artifactsOnly: true })), {
      artifacts: createDirectTransport(artifacts.routes),
      bytes: served ? stack.use(createByteClient(() => served.url)) : artifacts.bytes,
      metrics: artifacts.metrics,
      log,
      ready: { artifacts: () => artifacts.ready() },
    }),
  )
  const owned = stack.move()
  return { url: `${gateway.url}/api/2.0/mlflow-artifacts/artifacts`, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}

/** Sends a request target exactly as written, which fetch would normalise. */
export function rawStatus(base: string, method: string, target: string, body?: string): Promise<number> {
  const { hostname, port } = new URL(base)
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, method, path: target }, response => {
      response.resume()
      response.once('end', () => resolve(response.statusCode ?? 0))
    })
    sent.once('error', reject)
    sent.end(body)
  })
}
