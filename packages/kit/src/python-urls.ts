/** Schemes whose URLs may end in `;parameters` for Python's `urllib.parse`, which MLflow reads URLs with. "" is no scheme. */
export const SCHEMES_WITH_PARAMETERS: ReadonlySet<string> = new Set(
  ' ftp hdl prospero http imap https shttp rtsp rtsps rtspu sip sips mms sftp tel'.split(' '),
)

/** Schemes whose URLs Python writes with the slashes of an authority, also when they name none: `file:///a`, never `file:/a`. */
export const SCHEMES_WITH_AUTHORITY: ReadonlySet<string> = new Set(
  (
    'ftp http gopher nntp telnet imap wais file mms https shttp snews prospero rtsp rtsps rtspu rsync svn svn+ssh sftp nfs git git+ssh ws wss ' +
    'itms-services'
  ).split(' '),
)

/** Percent-decoding as Python's `unquote`: broken escapes stay, bytes that aren't UTF-8 become U+FFFD. */
export function percentDecode(text: string): string {
  if (!text.includes('%')) return text
  return text.replace(/(?:%[0-9a-fA-F]{2})+/g, run => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'))
}
