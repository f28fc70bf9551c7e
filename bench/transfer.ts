import { readFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'

const CHUNK_BYTES = 1024 * 1024
const SAMPLE_INTERVAL_MS = 50

/** Sends `size` bytes as one body; answers MiB per second. @throws when the answer is not 200 */
export async function upload(url: string, size: number): Promise<number> {
  const chunk = Buffer.alloc(CHUNK_BYTES, 'millrace')
  const agent = new Agent()
  const begun = performance.now()
  await new Promise<void>((resolve, reject) => {
    const sent = request(url, { method: 'PUT', agent, headers: { 'content-length': size } }, response => {
      response.resume()
      if (response.statusCode === 200) response.once('end', resolve)
      else reject(new Error(`PUT ${url} answered ${response.statusCode}`))
    })
    sent.once('error', reject)
    let left = size
    const fill = () => {
      while (left > 0) {
        const part = left < CHUNK_BYTES ? chunk.subarray(0, left) : chunk
        left -= part.length
        if (!sent.write(part)) return void sent.once('drain', fill)
      }
      sent.end()
    }
    fill()
  })
  return rate(size, begun)
}

/** Reads and drops a body of `size` bytes; answers MiB per second. @throws when it is not that long */
export async function download(url: string, size: number): Promise<number> {
  const begun = performance.now()
  await new Promise<void>((resolve, reject) => {
    const sent = request(url, response => {
      let got = 0
      response.on('data', part => {
        got += part.length
      })
      response.once('error', reject)
      response.once('end', () => (got === size ? resolve() : reject(new Error(`GET ${url} gave ${got} bytes of ${size}`))))
    })
    sent.once('error', reject)
    sent.end()
  })
  return rate(size, begun)
}

const rate = (size: number, begun: number) => size / CHUNK_BYTES / ((performance.now() - begun) / 1000)

/** Resident memory of a process now, in bytes. Linux only. */
export async function residentBytes(pid: number): Promise<number> {
  const [, kib] = /^VmRSS:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) * 1024
}

/** Runs `work` and answers by how much the process's resident memory was above its start at most, in bytes. */
export async function growthDuring(pid: number, work: () => Promise<void>): Promise<number> {
  const start = await residentBytes(pid)
  let peak = start
  const sampler = setInterval(async () => {
    peak = Math.max(peak, await residentBytes(pid))
  }, SAMPLE_INTERVAL_MS)
  try {
    await work()
  } finally {
    clearInterval(sampler)
  }
  return Math.max(peak, await residentBytes(pid)) - start
}
