import { createClient } from '@connectrpc/connect'
import { callOf, callOptions } from '@millrace/kit/call-context'
import { type Route, route } from '@millrace/kit/rpc'
import { ArtifactStoreService } from '@millrace/proto/millrace/artifacts/v1/store_pb'
import { ServerInfoService } from '@millrace/proto/millrace/server/v1/server_info_pb'
import { httpRequest } from '@millrace/rest/http-request'
import type { GatewayContext } from '../context.ts'
import { takesParts } from './artifact-proxy.ts'

const PROXIED_ROOT = 'mlflow-artifacts:/'
const NONE = { multipart: false, receivedParts: false, presignedDownload: false }

/** The Python client asks for this before it uses multipart transfers or workspaces. */
export function serverInfo({ config, artifacts, log }: GatewayContext): Route {
  const store = artifacts && config.serveArtifacts ? createClient(ArtifactStoreService, artifacts) : undefined
  return route(ServerInfoService, {
    async getServerInfo(_, context) {
      const able = await (store?.capabilities({ uri: PROXIED_ROOT }, callOptions(context)).catch(reason => {
        log?.warn('the capabilities of the artifact store are unknown', { requestId: callOf(context).requestId, reason })
        return NONE
      }) ?? NONE)
      return {
        storeType: config.artifactsOnly ? undefined : 'SqlStore',
        workspacesEnabled: false,
        traceArchivalEnabled: false,
        multipartUploadsEnabled: takesParts(config, able, context.values.get(httpRequest)),
        multipartDownloadsEnabled: able.presignedDownload,
        presignedUploadRunIdSupported: true,
        presignedUploadModelIdSupported: true,
        featuresEnabled: { gateway: true },
      }
    },
  })
}
