/** What Node calls a failed connection, or a failed call of the system: `ECONNRESET`, `ENOENT`; "" for other errors. */
export function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : ''
}

const UNREACHABLE = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']

/** Whether a connection couldn't be made, or was lost. */
export const isUnreachable = (error: unknown): boolean => UNREACHABLE.includes(codeOf(error))

/** Whether a connection couldn't be made because one side doesn't trust the other, or has no TLS in common with it. */
export const isUntrusted = (error: unknown): boolean => /CERT|SELF_SIGNED|VERIFY|^ERR_(SSL|TLS)|^EPROTO$/.test(codeOf(error))

/** Whether a connection was there and was lost. */
export const isLost = (error: unknown): boolean => ['ECONNRESET', 'EPIPE'].includes(codeOf(error))
