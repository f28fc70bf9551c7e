import { randomBytes } from 'node:crypto'
import { startAnsweringProxy } from '../../services/answering.ts'
import { createContainer, startAzurite } from '../../services/azure.ts'
import { startToxicProxy } from '../../services/toxic.ts'
import { type ApiAnswer, BUSY, DENIED, type Site, UNAUTHENTICATED } from './site.ts'

const answer = (status: number, code: string) => ({ status, headers: { 'x-ms-error-code': code } })

/** Source: "Status and error codes" of Azure's storage services. */
const answers: ApiAnswer[] = [
  { name: 'ServerBusy', answer: answer(503, 'ServerBusy'), ...BUSY, isRepeated: true },
  { name: 'an expired SAS token', answer: answer(403, 'AuthenticationFailed'), ...UNAUTHENTICATED, isRepeated: false },
]

export async function openAzure(): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  const server = stack.use(await startAzurite())
  const container = stack.use(await createContainer(server))
  const { account, accountKey, endpoint } = server
  const api = stack.use(await startAnsweringProxy({ port: Number(new URL(endpoint).port) }))
  const proxy = stack.use(await startToxicProxy(api))
  const opened = stack.move()
  const connection = (credential: string) => ({
    AZURE_STORAGE_CONNECTION_STRING: `AccountName=${account};${credential};BlobEndpoint=http://127.0.0.1:${proxy.port}/${account}`,
  })
  const wrongKey = randomBytes(64).toString('base64')
  const expired = server.sasUntil(new Date(Date.now() - 3_600_000))
  return {
    destination: `${container.uri}/root`,
    env: connection(`AccountKey=${accountKey}`),
    network: proxy,
    server,
    api: { set: api.set, answers },
    parts: {
      endpoint,
      env: { MILLRACE_AZURE_PUBLIC_ENDPOINT: endpoint },
      objects: () => container.names(),
      loseJoin: what => api.lose(what, ({ method, url }) => method === 'PUT' && /[?&]comp=blocklist\b/.test(url ?? '')),
    },
    contents: () => container.everything(''),
    // Azurite refuses both with a 403.
    refusals: [
      { name: 'wrong key', env: connection(`AccountKey=${wrongKey}`), ...DENIED, secrets: [wrongKey] },
      {
        name: 'expired SAS token',
        env: connection(`SharedAccessSignature=${expired}`),
        ...DENIED,
        secrets: [new URLSearchParams(expired).get('sig') ?? '', encodeURIComponent(new URLSearchParams(expired).get('sig') ?? '')],
      },
    ],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
