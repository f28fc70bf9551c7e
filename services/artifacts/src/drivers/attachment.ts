/** A Content-Disposition (RFC 6266); without it a browser would show the object instead of saving it. */
export function attachment(name: string): string {
  if (!/^[\x20-\x7e]*$/.test(name)) return `attachment; filename*=UTF-8''${encodeURIComponent(name).replace(/['()*]/g, escapeByte)}`
  return `attachment; filename="${name.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/**
 * A Content-Encoding that says of compressed objects that they are what they are: HTTP clients, MLflow's among them, would unpack what
 * comes by a signed URL, and ranges of it have nothing to unpack.
 */
export const AS_STORED = 'identity'

function escapeByte(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase()}`
}
