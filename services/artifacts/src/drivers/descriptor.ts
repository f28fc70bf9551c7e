import type { Env } from '@millrace/kit/config'
import type { Scheme } from '../driver.ts'
import type { HeldBytes } from '../held-bytes.ts'

/** What the rest of the service knows of a kind of store: its folder exports one, `table.ts` lists them. */
export interface StoreDescriptor<Raw = unknown, Config = unknown> {
  /** By name in lower case; "" is a plain path. */
  readonly schemes: Readonly<Record<string, SchemeDescriptor>>
  readonly capabilities: Capabilities
  /** Variables that a storage profile has unless it says otherwise: the machine's own role and who is signed in are not for every profile. */
  readonly profileEnv?: Env
  /** The settings in the environment, as they are written. */
  read(env: Env): Raw
  /** @throws ConfigError */
  check(raw: Raw): Config
  /** What all stores of the schemes share. Nothing is connected, and no large library loaded, until a store is opened. */
  open(config: Config, held: HeldBytes): Scheme
}

export interface SchemeDescriptor {
  /** How a root is written, for messages. */
  readonly form: string
  /** @throws for a root that is not of the form. */
  check(root: string): unknown
  /** Present where URIs name the host to connect to. */
  readonly hosts?: NamedHosts
}

interface NamedHosts {
  /** URIs of one family lead to the same place when host and port are the same. */
  readonly family: string
  /** What an absent port stands for; none where the store's settings say it. */
  readonly ports: readonly number[]
  /** A URI without a host names none, instead of the one in the store's settings. */
  readonly optional?: true
}

/** What clients can do, unless the credentials or the server at hand lack something. The suite of the driver says what is there. */
interface Capabilities {
  /** Where clients send the parts of an upload. */
  readonly parts: 'to the store' | 'to the server' | 'as it offers, else to the server'
  readonly presigned: '' | 'downloads, uploads' | 'downloads, as it offers'
}
