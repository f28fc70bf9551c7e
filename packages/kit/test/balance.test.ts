import { setTimeout as sleep } from 'node:timers/promises'
import { Code, type ConnectError, createClient } from '@connectrpc/connect'
import { connectNodeAdapter } from '@connectrpc/connect-node'
import { createUpstream } from '@millrace/kit/balance'
import { doesNotExist } from '@millrace/kit/errors'
import { type Listener, listen } from '@millrace/kit/listen'
import { ExperimentService } from '@millrace/proto/millrace/tracking/v1/experiments_pb'
import { afterEach, expect, test } from 'vitest'

/** A replica that answers with its name, counts what it carried out, and can be told to wait. */
interface Replica {
  readonly listener: Listener
  calls: number
  delayMs: number
}

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const one of opened.splice(0).reverse()) await one[Symbol.asyncDispose]()
})

async function open(name: string, port = 0): Promise<Replica> {
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
  const listener = await listen({ host: '127.0.0.1', port, handler: handler as never, drainTimeoutMs: 10 })
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
  await open('again', a.listener.port)
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
  await expect(read()).rejects.toMatchObject({ code: Code.Unavailable })
  await expect(write()).rejects.toMatchObject({ code: Code.Unavailable })
})
