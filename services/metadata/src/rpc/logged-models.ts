import type { ServiceImpl } from '@connectrpc/connect'
import { invalidParameter } from '@millrace/kit/errors'
import type { LoggedModelService } from '@millrace/proto/millrace/tracking/v1/logged_models_pb'
import type { MetadataContext } from '../context.ts'
import { repr } from '../search/python.ts'
import { loggedModelMessage } from './logged-model-messages.ts'
import { loggedModelSearch } from './logged-model-search.ts'

const NAME_REFUSED = /[/:.%"']/

export function loggedModels({ loggedModels: store }: Pick<MetadataContext, 'loggedModels'>): ServiceImpl<typeof LoggedModelService> {
  return {
    async createLoggedModel({ experimentId = '', name = '', modelType = '', sourceRunId = '', params, tags }) {
      checkName(name)
      const model = { name, modelType, sourceRunId, params: params.map(pair), tags: tags.map(pair) }
      return { model: loggedModelMessage(await store.create(experimentId, model)) }
    },
    async getLoggedModel({ modelId = '', allowDeleted }) {
      return { model: loggedModelMessage(await store.get(modelId, allowDeleted)) }
    },
    ...loggedModelSearch(store),
    async finalizeLoggedModel({ modelId = '', status = 0 }) {
      return { model: loggedModelMessage(await store.finalize(modelId, status)) }
    },
    async deleteLoggedModel({ modelId = '' }) {
      await store.delete(modelId)
      return {}
    },
    async setLoggedModelTags({ modelId = '', tags }) {
      await store.setTags(modelId, tags.map(pair))
      return {}
    },
    async deleteLoggedModelTag({ modelId = '', tagKey = '' }) {
      await store.deleteTag(modelId, tagKey)
      return {}
    },
    async logLoggedModelParams({ modelId = '', params }) {
      await store.addParams(modelId, params.map(pair))
      return {}
    },
  }
}

const pair = ({ key = '', value = '' }: { key?: string; value?: string }) => [key, value] as const

/** An empty name asks for a generated one. */
function checkName(name: string): void {
  if (!NAME_REFUSED.test(name)) return
  throw invalidParameter(
    `Invalid model name (${repr(name)}) provided. Model name must be a non-empty string and cannot contain the following characters: ` +
      `('/', ':', '.', '%', '"', "'")`,
  )
}
