import { startAnsweringProxy } from '../../services/answering.ts'
import { bearer, createContainer, startAzurite } from '../../services/azure.ts'
import { tempFolder } from '../../services/process.ts'
import { makeCertificates } from '../../services/tls.ts'
import { startTokenService } from '../../services/tokens.ts'
import type { SessionSite } from './session-site.ts'

const LIFE_SECONDS = 3_600
const refused = { status: 401, headers: { 'x-ms-error-code': 'InvalidAuthenticationInfo' } }

/** A managed identity, whose endpoint gives tokens that Azurite takes until their time; a proxy before it knows those that ended. */
export async function openAzureSessions(): Promise<SessionSite> {
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('azure-tokens')).path
  const certificates = await makeCertificates(folder, 'azurite')
  const tokens = stack.use(await startTokenService(() => bearer(LIFE_SECONDS)))
  const server = stack.use(await startAzurite(certificates))
  const container = stack.use(await createContainer(server))
  const target = { port: Number(new URL(server.endpoint).port), certificates }
  const proxy = stack.use(await startAnsweringProxy(target, ({ headers }) => (tokens.isGood(headers.authorization) ? undefined : refused)))
  const opened = stack.move()
  return {
    destination: `${container.uri}/root`,
    env: {
      AZURE_STORAGE_CONNECTION_STRING: `AccountName=${server.account};BlobEndpoint=https://127.0.0.1:${proxy.port}/${server.account}`,
      REQUESTS_CA_BUNDLE: certificates.caFile,
      IDENTITY_ENDPOINT: tokens.url,
      IDENTITY_HEADER: 'secret of the machine',
    },
    end: async () => tokens.endAll(),
    given: tokens.given,
    contents: () => container.everything(''),
    refusal: { status: 401, errorCode: 'UNAUTHENTICATED' },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}
