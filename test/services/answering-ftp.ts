import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { listenOnLoopback } from './process.ts'

interface FtpRule {
  /** Code and words of the reply. 421 also ends the session, and meets who connects. */
  reply: string
  /** Commands that are replied to; by default all that name a path or begin a transfer. */
  verbs?: readonly string[]
  /** So many commands; the others pass. No bound when absent. */
  times?: number
}

export interface AnsweringFtp extends AsyncDisposable {
  readonly port: number
  /** Replies to commands as the rule says from now on; passes all of them on without one. */
  set(rule?: FtpRule): void
}

const VERBS = ['CWD', 'SIZE', 'MDTM', 'MKD', 'RMD', 'DELE', 'RNFR', 'RNTO', 'STOR', 'RETR', 'LIST', 'MLSD']

/** A proxy on loopback for an FTP server's commands that can reply by itself, as a server does that has too much to do. */
export async function startAnsweringFtp(target: { port: number }): Promise<AnsweringFtp> {
  let rule: FtpRule | undefined
  let left = 0
  const open = new Set<Socket>()
  const isEnd = (reply: string) => reply.startsWith('421')
  const server = createServer(client => {
    open.add(client)
    client.once('close', () => open.delete(client))
    client.on('error', () => {})
    if (rule && left > 0 && isEnd(rule.reply) && !rule.verbs) {
      left--
      client.end(`${rule.reply}\r\n`)
      return
    }
    const upstream = connect(target.port, '127.0.0.1')
    upstream.on('error', () => client.destroy())
    upstream.pipe(client)
    client.once('close', () => upstream.destroy())
    const take = (line: string) => {
      const verb = line.split(' ')[0]?.toUpperCase() ?? ''
      if (!rule || left === 0 || !(rule.verbs ?? VERBS).includes(verb)) return upstream.write(`${line}\r\n`, 'latin1')
      left--
      if (isEnd(rule.reply)) return client.end(`${rule.reply}\r\n`)
      return client.write(`${rule.reply}\r\n`)
    }
    let begun = ''
    client.on('data', bytes => {
      const lines = (begun + bytes.toString('latin1')).split('\r\n')
      begun = lines.pop() ?? ''
      for (const line of lines) if (client.writable) take(line)
    })
  })
  const port = await listenOnLoopback(server)
  return {
    port,
    set(next) {
      rule = next
      left = next?.times ?? Number.POSITIVE_INFINITY
    },
    async [Symbol.asyncDispose]() {
      for (const client of open) client.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
