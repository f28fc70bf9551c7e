/** Schemes whose URLs may end in `;parameters` for Python's `urllib.parse`, which MLflow reads URLs with. "" is no scheme. */
export const SCHEMES_WITH_PARAMETERS: ReadonlySet<string> = new Set(
  ' ftp hdl prospero http imap https shttp rtsp rtsps rtspu sip sips mms sftp tel'.split(' '),
)

/** Schemes whose URLs Python's `urllib.parse` writes with `//`, also where they name no host. */
export const SCHEMES_WITH_HOST: ReadonlySet<string> = new Set(
  (
    'ftp http gopher nntp telnet imap wais file mms https shttp snews prospero rtsp rtsps rtspu rsync svn svn+ssh sftp nfs git git+ssh ws wss ' +
    'itms-services'
  ).split(' '),
)
