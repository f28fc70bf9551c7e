import { utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { filesBelow } from '../../compat/deletion.ts'
import { startAnsweringProxy } from '../../services/answering.ts'
import { startMillrace } from '../../services/millrace.ts'
import { freePort, tempFolder } from '../../services/process.ts'
import { startToxicProxy } from '../../services/toxic.ts'
import { type ApiAnswer, BUSY, type Site, UNAUTHENTICATED } from './site.ts'

const DAY_MS = 86_400_000

const answers: ApiAnswer[] = [
  { name: 'too many requests', answer: { status: 429, headers: { 'Retry-After': '1' } }, ...BUSY, isRepeated: false },
  { name: 'a gateway without its server', answer: { status: 502 }, ...BUSY, isRepeated: false },
  { name: 'an expired token', answer: { status: 401 }, ...UNAUTHENTICATED, isRepeated: false },
]

/** Another tracking server that only takes requests with its token. */
export async function openHttp(): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  const cwd = stack.use(await tempFolder('other')).path
  const data = join(cwd, 'data')
  const port = await freePort()
  const begin = () => startMillrace({ cwd, port, backendStoreUri: `sqlite:///${cwd}/mlflow.db`, artifactsDestination: data })
  let server = await begin()
  stack.defer(() => server[Symbol.asyncDispose]())
  const token = 'token-of-the-server'
  const refused = { status: 401 }
  const refuse = ({ headers }: { headers: { authorization?: string } }) =>
    headers.authorization === `Bearer ${token}` ? undefined : refused
  const api = stack.use(await startAnsweringProxy({ port }, refuse))
  const proxy = stack.use(await startToxicProxy(api))
  const opened = stack.move()
  const wrong = 'wrong-token-of-the-server'
  return {
    destination: `http://127.0.0.1:${proxy.port}/api/2.0/mlflow-artifacts/artifacts/root`,
    env: { MLFLOW_TRACKING_TOKEN: token },
    network: proxy,
    server: {
      async kill() {
        await server.process.end('SIGKILL')
      },
      async begin() {
        await ageHidden(data)
        server = await begin()
      },
    },
    api: { set: api.set, answers },
    contents: () => filesBelow(data),
    refusals: [
      { name: 'wrong token', env: { MLFLOW_TRACKING_TOKEN: wrong }, ...UNAUTHENTICATED, secrets: [wrong] },
      {
        name: 'wrong password',
        env: { MLFLOW_TRACKING_TOKEN: '', MLFLOW_TRACKING_USERNAME: 'user', MLFLOW_TRACKING_PASSWORD: wrong },
        ...UNAUTHENTICATED,
        secrets: [wrong, Buffer.from(`user:${wrong}`).toString('base64')],
      },
    ],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** A local folder is rid of what a killed server left in it after a day, when it is listed. */
async function ageHidden(folder: string): Promise<void> {
  const old = new Date(Date.now() - 2 * DAY_MS)
  for (const path of await filesBelow(folder)) if (path.includes('.artifact.uploading.')) await utimes(join(folder, path), old, old)
}
