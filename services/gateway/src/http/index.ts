import { artifactPartRoute } from './artifact-part.ts'
import { artifactProxyRoutes } from './artifact-proxy.ts'
import { modelArtifactRoute } from './logged-model-artifacts.ts'
import { metrics } from './metrics.ts'
import { openapi } from './openapi.ts'
import { probes } from './probes.ts'
import type { RawRoute } from './route.ts'
import { runArtifactRoutes } from './run-artifacts.ts'

export const rawRoutes: readonly RawRoute[] = [
  ...probes,
  metrics,
  openapi,
  ...artifactProxyRoutes,
  artifactPartRoute,
  ...runArtifactRoutes,
  modelArtifactRoute,
]
