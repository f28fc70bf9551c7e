export interface AccessToken {
  token: string
  /** Milliseconds since the epoch. */
  expiresTime: number
}

/** Where a kind of token comes from. */
export interface TokenProvider {
  name: string
  /** Undefined when this machine or configuration has none of the kind. @throws when it should have one but doesn't get it. */
  fetch(signal: AbortSignal): Promise<AccessToken | undefined>
}

/** A token that is renewed in time. */
export interface TokenSource {
  token(signal?: AbortSignal): Promise<string>
  /** That token was refused, so the next one is another one. */
  forget(refused: string): void
}

/** For all of Azure's storage accounts. */
export const STORAGE_RESOURCE = 'https://storage.azure.com'
