import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Code, type ConnectError, createClient } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { createUpstream } from '@millrace/kit/balance'
import { doesNotExist } from '@millrace/kit/errors'
import { listen } from '@millrace/kit/listen'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { afterEach, expect, test } from 'vitest'

/** A replica that answers with its name, counts what it carried out, and can be told to wait. */
interface Replica {
  readonly listener: { readonly url: string; readonly port: number } & AsyncDisposable
  calls: number
  delayMs: number
}

const STOPS = 6
const GOAWAYS = 100

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

type Serve = (handler: RequestListener) => Promise<Replica['listener']>

const listenAt =
  (port = 0, drainTimeoutMs = 10): Serve =>
  handler =>
    listen({ host: '127.0.0.1', port, handler, drainTimeoutMs })

async function open(name: string, serve: Serve = listenAt()): Promise<Replica> {
  const work = async () => {
    replica.calls++
    await sleep(replica.delayMs)
    return name
  }
  const handler = connectNodeAdapter({
    routes: router =>
      router.service(ExperimentService, {
        getExperiment: async ({ experimentId }) => {
          const answer = await work()
          if (experimentId === 'gone') throw doesNotExist('No Experiment with id=gone exists')
          return { experiment: { name: answer } }
        },
        createExperiment: async () => ({ experimentId: await work() }),
      }),
  })
  const listener = await serve(handler as RequestListener)
  const replica: Replica = { listener, calls: 0, delayMs: 0 }
  opened.push(listener)
  return replica
}

function connect(...replicas: Replica[]) {
  const upstream = createUpstream(
    'metadata',
    replicas.map(one => one.listener.url),
  )
  opened.push({ [Symbol.asyncDispose]: async () => upstream[Symbol.dispose]() })
  const client = createClient(ExperimentService, upstream.transport)
  return {
    read: async (experimentId = '1') => (await client.getExperiment({ experimentId })).experiment?.name,
    write: async (timeoutMs?: number) => (await client.createExperiment({ name: 'n' }, { timeoutMs })).experimentId,
  }
}

test('calls take turns', async () => {
  const [a, b] = [await open('a'), await open('b')]
  const { read, write } = connect(a, b)
  const names = [await read(), await write(), await read(), await write()]
  expect(names.sort()).toEqual(['a', 'a', 'b', 'b'])
})

test('a replica that refuses connections costs no call, neither read nor write, and is used again when it is back', async () => {
  const [a, b] = [await open('a'), await open('b')]
  const { read, write } = connect(a, b)
  await Promise.all([read(), read()])
  await a.listener[Symbol.asyncDispose]()
  for (let i = 0; i < 10; i++) expect([await read(), await write()]).toEqual(['b', 'b'])
  await open('again', listenAt(a.listener.port))
  await expect.poll(() => read(), { timeout: 10_000 }).toBe('again')
})

test('a read in flight when its replica dies is made again elsewhere', async () => {
  const [a, b] = [await open('a'), await open('b')]
  a.delayMs = b.delayMs = 300
  const { read } = connect(a, b)
  const reads = Promise.all([read(), read(), read(), read()])
  await expect.poll(() => a.calls).toBe(2)
  await a.listener[Symbol.asyncDispose]()
  expect(await reads).toEqual(['b', 'b', 'b', 'b'])
})

test('a write in flight when its replica dies is not made twice: it is unavailable', async () => {
  const [a, b] = [await open('a'), await open('b')]
  a.delayMs = 300
  const { write } = connect(a, b)
  const writes = Promise.allSettled([write(), write()])
  await expect.poll(() => [a.calls, b.calls]).toEqual([1, 1])
  await a.listener[Symbol.asyncDispose]()
  const failed = (await writes).flatMap(one => (one.status === 'rejected' ? (one.reason as ConnectError).code : []))
  expect(failed).toEqual([Code.Unavailable])
  expect([a.calls, b.calls]).toEqual([1, 1])
})

test('an error that a replica answers is passed on and not asked for twice', async () => {
  const [a, b] = [await open('a'), await open('b')]
  await expect(connect(a, b).read('gone')).rejects.toThrow('No Experiment with id=gone exists')
  expect(a.calls + b.calls).toBe(1)
})

test('a call ends at its deadline', async () => {
  const a = await open('a')
  a.delayMs = 5_000
  await expect(connect(a).write(100)).rejects.toMatchObject({ code: Code.DeadlineExceeded })
})

test('without any replica a call is unavailable', async () => {
  const a = await open('a')
  await a.listener[Symbol.asyncDispose]()
  const { read, write } = connect(a)
  const failed = await Promise.allSettled([read(), write()])
  expect(failed.map(one => one.status === 'rejected' && (one.reason as ConnectError).code)).toEqual([Code.Unavailable, Code.Unavailable])
})

/** Calls from several sides until `during` is over. @returns how many were answered. */
async function callDuring({ read, write }: ReturnType<typeof connect>, during: () => Promise<void>): Promise<number> {
  let answered = 0
  let isOver = false
  const callers = Array.from({ length: 4 }, async () => {
    while (!isOver) {
      await Promise.all([read(), write(), write()])
      answered += 3
      await sleep(1)
    }
  })
  await during()
  isOver = true
  await Promise.all(callers)
  return answered
}

test('replicas that stop in the middle of calls: each call is made once', async () => {
  const serve = (port?: number) => listenAt(port, 10_000)
  const current = [await open('a', serve()), await open('b', serve())]
  const all = [...current]
  const answered = await callDuring(connect(...current), async () => {
    for (let n = 0; n < STOPS; n++) {
      await sleep(20)
      const { listener } = current[n % 2] as Replica
      await listener[Symbol.asyncDispose]()
      const next = await open('next', serve(listener.port))
      current[n % 2] = next
      all.push(next)
    }
  })
  expect(answered).toBeGreaterThan(STOPS)
  expect(all.reduce((sum, { calls }) => sum + calls, 0)).toBe(answered)
})

test('a call that a replica refuses with its GOAWAY is made again, also a write', async () => {
  const sessions = new Set<ServerHttp2Session>()
  const replica = await open('a', async handler => {
    const server = createServer(handler as never)
    server.on('session', session => {
      sessions.add(session)
      session.once('close', () => sessions.delete(session))
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    const { port } = server.address() as AddressInfo
    return { port, url: `http://127.0.0.1:${port}`, [Symbol.asyncDispose]: async () => void server.close() }
  })
  const answered = await callDuring(connect(replica), async () => {
    for (let n = 0; n < GOAWAYS; n++) {
      await sleep(5)
      for (const session of sessions) session.close()
    }
  })
  expect(replica.calls).toBe(answered)
})
