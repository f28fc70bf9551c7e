import { readFile } from 'node:fs/promises'
import ssh2, { type IdentityCallback, type ParsedKey } from 'ssh2'

/** An agent of which only some keys are used, as `IdentitiesOnly` wants it: a server counts those that it doesn't know. */
export class NamedKeysAgent extends ssh2.OpenSSHAgent {
  readonly #named: ReadonlySet<string>

  /** @param named in the form of `publicKeyOf`. */
  constructor(socket: string, named: ReadonlySet<string>) {
    super(socket)
    this.#named = named
  }

  override getIdentities(done: IdentityCallback<ParsedKey>): void {
    super.getIdentities((error, keys) => {
      if (error) done(error)
      else done(undefined, keys?.filter(key => 'getPublicSSH' in key && this.#named.has(shown(key))) ?? [])
    })
  }
}

/** The public key that goes with a private key's file, which may itself be encrypted: from the file beside it, as OpenSSH looks for it. */
export async function publicKeyOf(path: string): Promise<string | undefined> {
  for (const file of [`${path}.pub`, path]) {
    const parsed = ssh2.utils.parseKey(await readFile(file, 'utf8').catch(() => ''))
    const key = Array.isArray(parsed) ? parsed[0] : parsed
    if (key && !(key instanceof Error)) return shown(key as ParsedKey)
  }
  return undefined
}

const shown = (key: ParsedKey): string => key.getPublicSSH().toString('base64')
