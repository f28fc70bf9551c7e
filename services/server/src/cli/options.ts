/** One command line option, the variable that stands in for it, and what it does. */
export interface OptionSpec {
  /** As commander reads it: `-p, --port <n>`. */
  readonly flags: string
  /** Variables read when the option is absent, in order. */
  readonly env?: readonly string[]
  readonly help: string
  /** Accepted for MLflow's sake; a note says that it does nothing, and why. */
  readonly ignored?: string
  readonly repeatable?: boolean
}

const NO_OTHER_SERVER = 'Millrace has no server of another kind to configure'

/** Options by their camelCase name, as services' configurations look them up. Names and variables are MLflow's where it has them. */
export const OPTIONS = {
  backendStoreUri: {
    flags: '--backend-store-uri <uri>',
    env: ['MLFLOW_BACKEND_STORE_URI'],
    help: 'tracking database: sqlite:///FILE or postgresql://... (default: sqlite:///mlflow.db)',
  },
  registryStoreUri: {
    flags: '--registry-store-uri <uri>',
    env: ['MLFLOW_REGISTRY_STORE_URI'],
    help: 'the same as --backend-store-uri: there is one database',
  },
  controlStoreUri: {
    flags: '--control-store-uri <uri>',
    env: ['MILLRACE_CONTROL_STORE_URI'],
    help: 'database of jobs and uploads (default: millrace.db beside a SQLite tracking database, the schema millrace inside a PostgreSQL one, millrace-artifacts-*.db here with --artifacts-only)',
  },
  defaultArtifactRoot: {
    flags: '--default-artifact-root <uri>',
    env: ['MLFLOW_DEFAULT_ARTIFACT_ROOT'],
    help: 'artifact location of new experiments, of the same forms as --artifacts-destination (default: mlflow-artifacts:/, or ./mlruns with --no-serve-artifacts)',
  },
  serveArtifacts: {
    flags: '--serve-artifacts',
    env: ['MLFLOW_SERVE_ARTIFACTS'],
    help: 'serve artifacts below --artifacts-destination through this server (default)',
  },
  noServeArtifacts: { flags: '--no-serve-artifacts', help: 'let clients talk to the artifact store themselves' },
  artifactsOnly: {
    flags: '--artifacts-only',
    env: ['MLFLOW_ARTIFACTS_ONLY'],
    help: 'serve artifacts and nothing else',
  },
  artifactsDestination: {
    flags: '--artifacts-destination <uri>',
    env: ['MLFLOW_ARTIFACTS_DESTINATION'],
    help: 'where served artifacts are kept: a folder or a URI of file, s3, r2, b2, wasbs, abfss, gs, ftp, sftp, hdfs, viewfs, webhdfs, swebhdfs, http, https or mlflow-artifacts (default: ./mlartifacts)',
  },
  allowedArtifactFolders: {
    flags: '--allowed-artifact-folders <folders>',
    env: ['MILLRACE_ALLOWED_ARTIFACT_FOLDERS'],
    help: 'comma-separated local folders that this server uses artifact locations in, while it serves artifacts (default: those of the other options, ./mlruns and ./mlartifacts)',
  },
  host: { flags: '-h, --host <host>', env: ['MLFLOW_HOST'], help: 'address to listen on (default: 127.0.0.1)' },
  port: { flags: '-p, --port <port>', env: ['MLFLOW_PORT'], help: 'port to listen on, 0 for any free one (default: 5000)' },
  serviceHost: { flags: '-h, --host <host>', env: ['MILLRACE_HOST'], help: 'address to listen on (default: 127.0.0.1)' },
  servicePort: {
    flags: '-p, --port <port>',
    env: ['MILLRACE_PORT'],
    help: 'port to listen on, 0 for any free one (default: 5101 metadata, 5102 artifacts, 5103 gc-worker)',
  },
  staticPrefix: {
    flags: '--static-prefix <path>',
    env: ['MLFLOW_STATIC_PREFIX'],
    help: 'path that comes before every route: starts with /, does not end with it',
  },
  allowedHosts: {
    flags: '--allowed-hosts <hosts>',
    env: ['MLFLOW_SERVER_ALLOWED_HOSTS'],
    help: 'comma-separated Host headers to accept, * as wildcard (default: localhost and private addresses)',
  },
  corsAllowedOrigins: {
    flags: '--cors-allowed-origins <origins>',
    env: ['MLFLOW_SERVER_CORS_ALLOWED_ORIGINS'],
    help: 'comma-separated origins whose pages may call the server, * for all (default: localhost)',
  },
  xFrameOptions: {
    flags: '--x-frame-options <value>',
    env: ['MLFLOW_SERVER_X_FRAME_OPTIONS'],
    help: 'SAMEORIGIN, DENY or NONE (default: SAMEORIGIN)',
  },
  disableSecurityMiddleware: {
    flags: '--disable-security-middleware',
    env: ['MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE'],
    help: 'accept every Host and Origin: for tests only',
  },
  metadataUrl: {
    flags: '--metadata-url <url>',
    env: ['MILLRACE_METADATA_URL'],
    help: 'a metadata service; repeat it or separate with commas for several',
    repeatable: true,
  },
  artifactsUrl: {
    flags: '--artifacts-url <url>',
    env: ['MILLRACE_ARTIFACTS_URL'],
    help: 'an artifacts service; repeat it or separate with commas for several',
    repeatable: true,
  },
  jobsUrl: {
    flags: '--jobs-url <url>',
    env: ['MILLRACE_JOBS_URL'],
    help: 'a gc-worker; repeat it or separate with commas for several',
    repeatable: true,
  },
  redisUrl: { flags: '--redis-url <url>', env: ['MILLRACE_REDIS_URL'], help: 'Redis for the job queues: redis://HOST:PORT' },
  redisPrefix: { flags: '--redis-prefix <text>', env: ['MILLRACE_REDIS_PREFIX'], help: 'begins every key in Redis (default: millrace)' },
  jobConcurrency: { flags: '--job-concurrency <n>', env: ['MILLRACE_JOB_CONCURRENCY'], help: 'jobs at once in one process (default: 4)' },
  workers: { flags: '-w, --workers <n>', env: ['MLFLOW_WORKERS'], help: 'ignored', ignored: 'one process serves every request' },
  gunicornOpts: { flags: '--gunicorn-opts <text>', env: ['MLFLOW_GUNICORN_OPTS'], help: 'ignored', ignored: NO_OTHER_SERVER },
  uvicornOpts: { flags: '--uvicorn-opts <text>', env: ['MLFLOW_UVICORN_OPTS'], help: 'ignored', ignored: NO_OTHER_SERVER },
  waitressOpts: { flags: '--waitress-opts <text>', help: 'ignored', ignored: NO_OTHER_SERVER },
  exposePrometheus: {
    flags: '--expose-prometheus <folder>',
    env: ['MLFLOW_EXPOSE_PROMETHEUS'],
    help: 'ignored',
    ignored: '/metrics is always there, and needs no folder',
  },
  dev: { flags: '--dev', help: 'ignored', ignored: NO_OTHER_SERVER },
} as const satisfies Record<string, OptionSpec>

export type OptionName = keyof typeof OPTIONS
