import type { Client, ConnectConfig, SFTPWrapper } from 'ssh2'
import SftpClient from 'ssh2-sftp-client'

/** What the package has beside what its types declare. */
interface Internals {
  client: Client
  errorHandled: boolean
}

/** A child of a folder, of which the package takes the type from `longname`, a line for people to read. */
export interface ListedChild extends SftpClient.FileInfo {
  longname: string
}

/**
 * The package's client and the ssh2 client in it, without the traps: it prints events that no call waits for, has three listeners for each
 * call under way, and takes a key of the agent that doesn't work for the end, although the next one is tried. Its `end` waits for a
 * server that may be gone, so the ssh2 client is destroyed instead.
 */
export function createClient(): { client: SftpClient; ssh: Client; connect: (options: ConnectConfig) => Promise<SFTPWrapper> } {
  const ignore = () => undefined
  const client = new SftpClient('millrace', { error: ignore, end: ignore, close: ignore })
  const internals = client as unknown as Internals
  const ssh = internals.client
  ssh.setMaxListeners(0)
  const connect = (options: ConnectConfig) => {
    const connected = client.connect(options)
    // Comes before the listener that the package has just added in the first place.
    ssh.prependListener('error', error => {
      internals.errorHandled = 'level' in error && error.level === 'agent'
    })
    return connected
  }
  return { client, ssh, connect }
}
