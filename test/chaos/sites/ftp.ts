import { once } from 'node:events'
import { createServer } from 'node:net'
import { filesBelow } from '../../compat/deletion.ts'
import { startAnsweringFtp } from '../../services/answering-ftp.ts'
import { startVsftpd } from '../../services/ftp.ts'
import { startToxicProxy, type Toxics } from '../../services/toxic.ts'
import { type ApiAnswer, BUSY, type Site, UNAUTHENTICATED } from './site.ts'

/** Another address of the loopback network: the same ports are free there. */
const PROXY_HOST = '127.0.0.2'
const DATA_PORTS = 24
const PORT_MIN = 20_000
const PORT_MAX = 30_000

/** Source: RFC 959 section 4.2.2. */
const answers: ApiAnswer[] = [
  { name: '421', answer: { status: 421, body: 'There are too many connected users, please try later.' }, ...BUSY, isRepeated: true },
  { name: '450', answer: { status: 450, body: 'Requested file action not taken: busy.' }, ...BUSY, isRepeated: true },
]

/** Commands and data have connections of their own, all of which go through the same bad network. */
export async function openFtp(): Promise<Site> {
  await using stack = new AsyncDisposableStack()
  const first = await freeRange(DATA_PORTS)
  const server = stack.use(await startVsftpd({ passivePorts: { first, last: first + DATA_PORTS - 1 } }))
  const api = stack.use(await startAnsweringFtp(server))
  const ports = [api.port, ...Array.from({ length: DATA_PORTS }, (_, n) => first + n)]
  const proxies = await Promise.all(
    ports.map(async port => stack.use(await startToxicProxy({ host: '127.0.0.1', port }, { host: PROXY_HOST, port }))),
  )
  const opened = stack.move()
  const uri = (user: string, password: string) =>
    `ftp://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${PROXY_HOST}:${api.port}/root`
  const wrong = 'wrong-password-of-the-server'
  return {
    destination: uri(server.user, server.password),
    env: {},
    server,
    network: {
      async set(toxics: Toxics) {
        await Promise.all(proxies.map(proxy => proxy.set(toxics)))
      },
    },
    api: {
      set(rule) {
        if (!rule) return api.set()
        const { answer, except, times } = rule
        // What takes an upload back passes.
        api.set({ reply: `${answer.status} ${answer.body}`, times, verbs: except ? ['STOR'] : undefined })
      },
      answers,
    },
    keepsHidden: true,
    contents: () => filesBelow(server.folder),
    refusals: [{ name: 'wrong password', destination: uri(server.user, wrong), ...UNAUTHENTICATED, secrets: [wrong] }],
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

/** Ports one after another that nobody listens on. @returns the first. */
async function freeRange(count: number): Promise<number> {
  for (;;) {
    const first = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN - count))
    const tried = await Promise.all(Array.from({ length: count }, (_, n) => isFree(first + n)))
    if (tried.every(free => free)) return first
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port)
  try {
    await once(server, 'listening')
    return true
  } catch {
    return false
  } finally {
    await new Promise(resolve => server.close(resolve))
  }
}
