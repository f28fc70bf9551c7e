import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import ssh2, { type AnyAuthMethod, type ParsedKey } from 'ssh2'
import type { SftpConfig } from './config.ts'
import { unauthenticated } from './errors.ts'
import { NamedKeysAgent, publicKeyOf } from './named-keys-agent.ts'
import type { Target } from './target.ts'

const USUAL_KEYS = ['.ssh/id_ed25519', '.ssh/id_ecdsa', '.ssh/id_rsa']

/**
 * Private keys by their files. They are read again with each connection, but parsed only when they changed: the key of an encrypted
 * one takes about a second of this thread to derive.
 */
export class KeyRing {
  readonly #parsed = new Map<string, { text: string; key: ParsedKey | Error }>()
  readonly #passphrase: string | undefined

  constructor(passphrase: string | undefined) {
    this.#passphrase = passphrase
  }

  /** Undefined when there is no such file; an Error for one that can't be used, such as an encrypted one without its passphrase. */
  async read(path: string): Promise<ParsedKey | Error | undefined> {
    let text: string
    try {
      text = await readFile(path, 'utf8')
    } catch {
      return undefined
    }
    const known = this.#parsed.get(path)
    if (known?.text === text) return known.key
    const parsed = ssh2.utils.parseKey(text, this.#passphrase)
    const key = Array.isArray(parsed) ? (parsed[0] as ParsedKey) : parsed
    this.#parsed.set(path, { text, key })
    return key
  }
}

/**
 * Ways to prove who the server is, in the order in which they are tried: passwords (a URI's is tried first by MLflow too), the keys that are
 * named, the agent's, the usual files.
 */
export async function authMethods(target: Target, config: SftpConfig, keys: KeyRing): Promise<AnyAuthMethod[]> {
  const username = target.user
  const methods: AnyAuthMethod[] = []
  for (const password of target.passwords) {
    methods.push(
      { type: 'password', username, password },
      {
        type: 'keyboard-interactive',
        username,
        prompt: (_name, _instructions, _language, prompts, answer) => answer(prompts.map(({ echo }) => (echo ? '' : password))),
      },
    )
  }
  const offer = async (path: string) => {
    const key = await keys.read(path)
    // The declaration of `key` leaves out that ssh2 takes parsed keys as they are.
    if (key && !(key instanceof Error) && key.isPrivateKey()) methods.push({ type: 'publickey', username, key: key as unknown as string })
    return key
  }
  if (config.privateKeyFile) {
    const key = await offer(config.privateKeyFile)
    if (!key || key instanceof Error)
      throw unauthenticated('The private key for the artifact store cannot be read with the passphrase given', key)
  }
  for (const file of target.identityFiles ?? []) await offer(file)
  const { homeFolder } = config
  const usual = homeFolder && !target.identityFiles ? USUAL_KEYS.map(file => join(homeFolder, file)) : []
  if (target.agentSocket) methods.push({ type: 'agent', username, agent: await agentOf(target.agentSocket, target, usual) })
  for (const file of usual) await offer(file)
  return methods
}

async function agentOf(socket: string, { identitiesOnly, identityFiles = [] }: Target, usual: string[]): Promise<NamedKeysAgent | string> {
  if (!identitiesOnly) return socket
  const named = await Promise.all([...identityFiles, ...usual].map(publicKeyOf))
  return new NamedKeysAgent(socket, new Set(named.flatMap(key => key ?? [])))
}
