/**
 * The least that a server between a client and a store can do: hand every request on, and its answer back. Its rate is the most that a
 * process of node:http on the way leaves of the store's own. Prints its port.
 *
 *     node bench/bare-relay.ts ORIGIN
 */
import { Agent, createServer, request } from 'node:http'
import { pipeline } from 'node:stream'

const { hostname, port } = new URL(process.argv[2] ?? '')
const agent = new Agent({ keepAlive: true })
const server = createServer((incoming, outgoing) => {
  const drop = (error: unknown) => void (error && outgoing.destroy())
  const { method, url: path, headers } = incoming
  const sent = request({ hostname, port, agent, method, path, headers }, answer => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
    pipeline(answer, outgoing, drop)
  })
  pipeline(incoming, sent, drop)
})
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (address && typeof address === 'object') console.log(address.port)
})
