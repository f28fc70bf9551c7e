/** A store on a real server that takes the server's credentials for a time only. */
export interface SessionSite extends AsyncDisposable {
  readonly destination: string
  readonly env: Record<string, string>
  /** Ends every session or token that the server has. It gets another one when it asks. */
  end(): Promise<void>
  /** Sessions and tokens that were given out and used. */
  given(): number
  /** Everything that the store itself knows to be there. */
  contents(): Promise<string[]>
  /** What a client is told whose body can't be sent again. */
  readonly refusal: { status: number; errorCode: string }
}
