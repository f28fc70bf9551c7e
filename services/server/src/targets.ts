import type { OptionName } from './cli/options.ts'
import type { Opened, Setup } from './opened.ts'

export interface Target {
  readonly summary: string
  readonly options: readonly OptionName[]
  /** Loads the target's code only now: a process pays for the parts it runs. */
  open(setup: Setup): Promise<Opened>
}

const PUBLIC = [
  'host',
  'port',
  'staticPrefix',
  'serveArtifacts',
  'noServeArtifacts',
  'artifactsOnly',
  'allowedHosts',
  'corsAllowedOrigins',
  'xFrameOptions',
  'disableSecurityMiddleware',
] as const
const IGNORED = ['workers', 'gunicornOpts', 'uvicornOpts', 'waitressOpts', 'exposePrometheus', 'dev'] as const

export const TARGETS: Readonly<Record<string, Target>> = {
  server: {
    summary: 'Run everything in one process',
    options: [
      'backendStoreUri',
      'registryStoreUri',
      'controlStoreUri',
      'defaultArtifactRoot',
      'artifactsDestination',
      'allowedArtifactFolders',
      ...PUBLIC,
      'jobConcurrency',
      ...IGNORED,
    ],
    open: async setup => (await import('./targets/server.ts')).openServer(setup),
  },
  gateway: {
    summary: 'Run the public port; the other services are elsewhere',
    options: ['metadataUrl', 'artifactsUrl', 'jobsUrl', ...PUBLIC, ...IGNORED],
    open: async setup => (await import('./targets/gateway.ts')).openGateway(setup),
  },
  metadata: {
    summary: 'Run the service that owns the tracking database',
    options: [
      'backendStoreUri',
      'defaultArtifactRoot',
      'serveArtifacts',
      'noServeArtifacts',
      'artifactsDestination',
      'serviceHost',
      'servicePort',
    ],
    open: async setup => (await import('./targets/metadata.ts')).openMetadataTarget(setup),
  },
  artifacts: {
    summary: 'Run the service that owns the artifact stores',
    options: [
      'artifactsDestination',
      'defaultArtifactRoot',
      'allowedArtifactFolders',
      'serveArtifacts',
      'noServeArtifacts',
      'serviceHost',
      'servicePort',
    ],
    open: async setup => (await import('./targets/artifacts.ts')).openArtifactsTarget(setup),
  },
  'gc-worker': {
    summary: 'Run the jobs that delete for good and complete uploads',
    options: [
      'controlStoreUri',
      'backendStoreUri',
      'artifactsOnly',
      'defaultArtifactRoot',
      'redisUrl',
      'redisPrefix',
      'jobConcurrency',
      'metadataUrl',
      'artifactsUrl',
      'serviceHost',
      'servicePort',
    ],
    open: async setup => (await import('./targets/gc-worker.ts')).openGcWorkerTarget(setup),
  },
}
