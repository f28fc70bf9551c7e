import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { pipeline } from 'node:stream/promises'
import { listenOnLoopback } from './process.ts'

export interface Gateway extends AsyncDisposable {
  /** `swebhdfs://localhost:port` */
  readonly url: string
}

/**
 * A stand-in for HttpFS, with TLS, in front of a name node: it takes and gives the bytes itself, renames over no file, and tells no file
 * ids. Source: Hadoop's "HttpFS" documentation.
 */
export async function startWebHdfsGateway(nameNode: string, tls: { key: string; cert: string }): Promise<Gateway> {
  const server = createServer(tls, (incoming, outgoing) => {
    answer(nameNode, incoming, outgoing).catch(() => outgoing.destroy())
  })
  const port = await listenOnLoopback(server)
  return {
    url: `swebhdfs://localhost:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

async function answer(nameNode: string, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const url = new URL(incoming.url ?? '', nameNode)
  const op = url.searchParams.get('op')
  url.searchParams.delete('renameoptions')
  if (op === 'CREATE' && url.searchParams.get('data') !== 'true') {
    incoming.resume()
    const location = `https://${incoming.headers.host}${incoming.url}&data=true`
    outgoing.writeHead(307, { location, 'content-length': 0 }).end()
    return
  }
  const isUpload = op === 'CREATE'
  if (isUpload && incoming.headers['content-type'] !== 'application/octet-stream') {
    outgoing.writeHead(400).end()
    return
  }
  let found = await send(url, incoming.method ?? 'GET')
  const { location } = found.headers
  if (location !== undefined) {
    found.resume()
    const data = new URL(location)
    data.pathname = url.pathname
    found = await send(data, incoming.method ?? 'GET', isUpload ? incoming : undefined)
  }
  const { 'content-type': type } = found.headers
  outgoing.writeHead(found.statusCode ?? 500, type ? { 'content-type': type } : {})
  if (!type?.startsWith('application/json')) return pipeline(found, outgoing)
  const parts: Buffer[] = []
  for await (const part of found as AsyncIterable<Buffer>) parts.push(part)
  outgoing.end(
    Buffer.concat(parts)
      .toString()
      .replace(/"fileId":\d+,/g, ''),
  )
}

function send(url: URL, method: string, body?: IncomingMessage): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method })
    sent.once('response', resolve).once('error', reject)
    if (body) {
      body.once('aborted', () => sent.destroy())
      body.pipe(sent)
    } else sent.end()
  })
}
