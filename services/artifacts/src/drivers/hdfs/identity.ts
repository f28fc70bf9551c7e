/** Who the server is to the endpoints of a cluster. */
export interface Identity {
  /** What every request's query holds. */
  readonly query: Readonly<Record<string, string>>
  /**
   * Headers of a request to an endpoint.
   * @param refused whether the endpoint didn't accept the ones before.
   */
  headers(endpoint: URL, refused: boolean, signal?: AbortSignal): Promise<Record<string, string>>
  /** Takes what an endpoint handed out with an answer. */
  accept(endpoint: URL, setCookie: readonly string[] | undefined): void
  /** Whether a refusal may be followed by a second attempt. */
  readonly isRenewable: boolean
}

/** Hadoop's "simple" authentication: the name is believed. */
export function namedIdentity(user: string | undefined): Identity {
  return {
    query: user === undefined ? {} : { 'user.name': user },
    isRenewable: false,
    async headers() {
      return {}
    },
    accept() {},
  }
}
