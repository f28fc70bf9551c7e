import { Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { MlflowError } from '@millrace/kit/errors'
import type { AnyAuthMethod, ConnectConfig, ServerHostKeyAlgorithm } from 'ssh2'
import { codeOf } from '../system-errors.ts'
import { useKeyObjects } from './cipher-keys.ts'
import { createClient } from './client.ts'
import type { SftpConfig } from './config.ts'
import { authMethods, type KeyRing } from './credentials.ts'
import { connectionError, refusedHostKey, tooSlow, unauthenticated, unreachable, wasDropped } from './errors.ts'
import { checkHostKey, type KnownHost, linesOf } from './known-hosts.ts'
import type { Endpoint } from './location.ts'
import { Session } from './session.ts'
import { resolveTarget, type Target } from './target.ts'

const CONNECT_TIMEOUT_MS = 20_000
const KEEPALIVE_INTERVAL_MS = 15_000
const KEEPALIVES_MISSED_MAX = 3

const ATTEMPTS_MAX = 3
const ATTEMPT_PAUSE_MS = 300
/** OpenSSH drops connections at random while many are at their start (MaxStartups), and once it has enough of them. */
const DROPPED_PAUSE_MS_MAX = 1_000

/** An SFTP session with the server whose key is known, by the first credentials that it takes. */
export async function connect(endpoint: Endpoint, config: SftpConfig, keys: KeyRing): Promise<Session> {
  const until = performance.now() + Math.min(config.timeoutMs, CONNECT_TIMEOUT_MS)
  for (let attempt = 1; ; attempt++) {
    let pauseMs: number
    try {
      const target = await resolveTarget(endpoint, config)
      return await connectTo(target, await authMethods(target, config, keys), config)
    } catch (error) {
      const failure = connectionError(error)
      if (failure.errorCode !== 'TEMPORARILY_UNAVAILABLE' || codeOf(error) === 'ECONNREFUSED') throw failure
      // Not all at the same time: whoever was dropped beside this one tries again as well.
      const spread = 0.5 + Math.random()
      pauseMs = wasDropped(error)
        ? Math.min(ATTEMPT_PAUSE_MS * 2 ** (attempt - 1), DROPPED_PAUSE_MS_MAX) * spread
        : ATTEMPT_PAUSE_MS * attempt
      if (wasDropped(error) ? performance.now() + pauseMs > until : attempt === ATTEMPTS_MAX) throw failure
    }
    await sleep(pauseMs)
  }
}

function connectTo(target: Target, methods: AnyAuthMethod[], config: SftpConfig): Promise<Session> {
  const { hostname: host, port, user: username } = target
  const lines = linesOf(target.knownHosts, target.hostKeyName, port)
  const { client, ssh, connect } = createClient()
  const socket = new Socket()
  useKeyObjects(ssh)
  return new Promise<Session>((resolve, reject) => {
    const timeoutMs = Math.min(config.timeoutMs, CONNECT_TIMEOUT_MS)
    const timer = setTimeout(() => fail(tooSlow()), timeoutMs)
    const fail = (error: unknown) => {
      clearTimeout(timer)
      reject(error)
      ssh.destroy()
    }
    ssh.on('error', error => {
      // A key of the agent that doesn't work; the next one is tried.
      if ((error as { level?: unknown }).level !== 'agent') fail(error)
    })
    ssh.on('close', () => fail(unreachable()))
    ssh.on('change password', () => fail(unauthenticated('The password for the artifact store has expired')))
    const options: ConnectConfig = {
      sock: socket,
      username,
      readyTimeout: 0,
      keepaliveInterval: KEEPALIVE_INTERVAL_MS,
      keepaliveCountMax: KEEPALIVES_MISSED_MAX,
      algorithms: { serverHostKey: hostKeyAlgorithms(lines) },
      hostVerifier: (key: Buffer) => {
        const verdict = checkHostKey(lines, key)
        if (verdict === 'known') return true
        fail(refusedHostKey(host, port, verdict, key))
        return false
      },
      authHandler: nextOf(methods, error => fail(error)),
    }
    connect(options).then(
      channel => {
        clearTimeout(timer)
        resolve(new Session({ client, ssh, channel, socket }, config.timeoutMs))
      },
      (error: Error) => {
        // Why the connection ended is told by the event that comes next.
        if (!/unexpected end event/i.test(error.message)) fail(error)
      },
    )
    socket.connect({ host, port })
    // Requests are small and wait for their answers: held back for more to send, each would take 40 ms.
    socket.setNoDelay(true)
  })
}

/** Goes through `methods`, leaving out those that the server doesn't offer. */
function nextOf(methods: AnyAuthMethod[], fail: (error: MlflowError) => void): ConnectConfig['authHandler'] {
  const left = [...methods]
  return (offered: string[] | null, _partial, next) => {
    for (;;) {
      const method = left.shift()
      if (!method) break
      if (!offered || offered.includes(method.type === 'agent' ? 'publickey' : method.type)) return next(method)
    }
    fail(
      unauthenticated(
        methods.length === 0
          ? 'The server has no password, key or agent for the artifact store'
          : "The artifact store refused the server's credentials",
      ),
    )
  }
}

const HOST_KEY_ALGORITHMS: ServerHostKeyAlgorithm[] = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'rsa-sha2-512',
  'rsa-sha2-256',
]

/** Those of known keys first: a host with several keys then shows the one that can be checked. */
function hostKeyAlgorithms(lines: readonly KnownHost[]): ServerHostKeyAlgorithm[] {
  const types = new Set(lines.flatMap(({ revoked, type }) => (revoked ? [] : [type])))
  const isKnown = (algorithm: string) => types.has(algorithm.startsWith('rsa-') ? 'ssh-rsa' : algorithm)
  return [...HOST_KEY_ALGORITHMS.filter(isKnown), ...HOST_KEY_ALGORITHMS.filter(algorithm => !isKnown(algorithm))]
}
