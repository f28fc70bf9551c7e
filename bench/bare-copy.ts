/**
 * The least that a server can do with a file over HTTP: a stream into a file, a stream out of it. Its rate is what the artifact proxy
 * is measured against. Prints its port.
 *
 *     node bench/bare-copy.ts FOLDER
 */
import { createReadStream, createWriteStream, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'

const file = join(process.argv[2] ?? '.', 'bare.bin')
const server = createServer(async (request, response) => {
  try {
    if (request.method === 'PUT') {
      await pipeline(request, createWriteStream(file))
      response.end()
    } else {
      response.setHeader('content-length', statSync(file).size)
      await pipeline(createReadStream(file), response)
    }
  } catch {
    response.destroy()
  }
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address && typeof address === 'object') console.log(address.port)
})
