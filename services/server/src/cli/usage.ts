import { checkBoolean, type Env, type Flags, read, refused } from '@millrace/kit/config'
import { UsageError } from './errors.ts'

const SERVERS = { gunicornOpts: '--gunicorn-opts', waitressOpts: '--waitress-opts', uvicornOpts: '--uvicorn-opts' }
const SECURITY = ['allowedHosts', 'corsAllowedOrigins', 'disableSecurityMiddleware'] as const

/**
 * The combinations that `mlflow server` refuses, in its order and words.
 * @throws UsageError
 */
export function checkUsage(env: Env, flags: Flags): void {
  const given = Object.entries(SERVERS).filter(([name]) => flags[name] !== undefined)
  const uri = read(env, flags, 'backendStoreUri', 'MLFLOW_BACKEND_STORE_URI')?.value
  const artifactsOnly = checkBoolean(read(env, flags, 'artifactsOnly', 'MLFLOW_ARTIFACTS_ONLY'), false)
  if (flags.dev && (flags.gunicornOpts ?? flags.uvicornOpts) !== undefined) {
    throw new UsageError(`'--dev' and '--${flags.gunicornOpts === undefined ? 'uvicorn' : 'gunicorn'}-opts' cannot be specified together.`)
  }
  checkStaticPrefix(read(env, flags, 'staticPrefix', 'MLFLOW_STATIC_PREFIX')?.value)
  if (given.length > 1) {
    throw new UsageError(
      "Cannot specify multiple server options. Choose one of: '--gunicorn-opts', '--waitress-opts', or '--uvicorn-opts'.",
    )
  }
  if ((flags.gunicornOpts ?? flags.waitressOpts) !== undefined && SECURITY.some(name => flags[name] !== undefined)) {
    throw new UsageError(
      'Security middleware parameters (--allowed-hosts, --cors-allowed-origins, --disable-security-middleware) are only supported with ' +
        'the default uvicorn server. They cannot be used with --gunicorn-opts or --waitress-opts. To use security features, run without ' +
        'specifying a server option (uses uvicorn by default) or explicitly use --uvicorn-opts.',
    )
  }
  if (artifactsOnly && uri !== undefined && uri !== 'sqlite:///mlflow.db') {
    throw new UsageError(
      `You are starting a tracking server in \`--artifacts-only\` mode and have provided a value for \`--backend_store_uri\`: '${uri}'. ` +
        'A tracking server in `--artifacts-only` mode cannot have a value set for `--backend_store_uri` to properly proxy access to the ' +
        'artifact storage location.',
    )
  }
}

/** @throws ConfigError where the model registry should be in a database of its own. */
export function checkRegistry(env: Env, flags: Flags): void {
  const registry = read(env, flags, 'registryStoreUri', 'MLFLOW_REGISTRY_STORE_URI')
  const tracking = read(env, flags, 'backendStoreUri', 'MLFLOW_BACKEND_STORE_URI')?.value ?? 'sqlite:///mlflow.db'
  if (registry && registry.value !== tracking) throw refused(registry, 'the URI of the backend store')
}

function checkStaticPrefix(prefix: string | undefined): void {
  if (prefix === undefined) return
  if (!prefix.startsWith('/')) throw new UsageError("--static-prefix must begin with a '/'.")
  if (prefix.endsWith('/')) throw new UsageError("--static-prefix should not end with a '/'.")
  if (/[{}]/.test(prefix)) throw new UsageError("--static-prefix must not contain '{' or '}'.")
}

const WORKSPACE = 'default'

/**
 * A workspace may be named where it is the one that there is; work on that one in place of another would remove what nobody asked for.
 * @throws UsageError, ConfigError
 */
export function checkWorkspace(env: Env, flags: Flags): void {
  if (flags.workspace !== undefined && flags.allWorkspaces === true) {
    throw new UsageError('Cannot use --workspace and --all-workspaces together.')
  }
  const workspace = flags.allWorkspaces === true ? undefined : read(env, flags, 'workspace', 'MLFLOW_WORKSPACE')
  if (workspace && workspace.value !== WORKSPACE) throw refused(workspace, `'${WORKSPACE}', as Millrace has no workspaces besides it`)
}
