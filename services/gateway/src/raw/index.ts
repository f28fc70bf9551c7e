import { artifactProxyRoutes } from './artifacts.ts'
import { modelArtifactRoute } from './artifacts-model.ts'
import { artifactPartRoute } from './artifacts-part.ts'
import { runArtifactRoutes } from './artifacts-run.ts'
import { metrics } from './metrics.ts'
import { openapi } from './openapi.ts'
import { probes } from './probes.ts'
import type { RawRoute } from './route.ts'

export const rawRoutes: readonly RawRoute[] = [
  ...probes,
  metrics,
  openapi,
  ...artifactProxyRoutes,
  artifactPartRoute,
  ...runArtifactRoutes,
  modelArtifactRoute,
]
