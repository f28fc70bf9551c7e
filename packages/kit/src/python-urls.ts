/** Schemes whose URLs may end in `;parameters` for Python's `urllib.parse`, which MLflow reads URLs with. "" is no scheme. */
export const SCHEMES_WITH_PARAMETERS: ReadonlySet<string> = new Set(
  ' ftp hdl prospero http imap https shttp rtsp rtsps rtspu sip sips mms sftp tel'.split(' '),
)
