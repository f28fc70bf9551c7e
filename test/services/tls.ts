import { join } from 'node:path'
import { ensurePackages, which } from './install.ts'
import { runOk } from './process.ts'

export interface Certificates {
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
}

/** An authority of its own and a certificate by it for 127.0.0.1 and localhost, as files in `folder` that begin with `name`. */
export async function makeCertificates(folder: string, name: string): Promise<Certificates> {
  await ensurePackages(['openssl'], () => which('openssl') !== undefined)
  const file = (part: string) => join(folder, `${name}-${part}.pem`)
  const key = (part: string) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file(`${part}-key`)]
  const openssl = (...args: string[]) => runOk('openssl', args)
  await openssl('req', '-x509', ...key('ca'), '-out', file('ca'), '-days', '2', '-subj', `/CN=${name} authority`)
  const names = ['-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost', '-addext', 'basicConstraints=critical,CA:FALSE']
  const issuer = ['-CA', file('ca'), '-CAkey', file('ca-key')]
  await openssl('req', '-x509', ...issuer, ...key('server'), '-out', file('server'), '-days', '2', '-subj', '/CN=localhost', ...names)
  return { caFile: file('ca'), certFile: file('server'), keyFile: file('server-key') }
}
