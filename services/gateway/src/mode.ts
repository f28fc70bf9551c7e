import type { GatewayConfig } from './config.ts'

/** A part of the server that `--artifacts-only` (tracking) or `--no-serve-artifacts` (artifacts) switches off. */
export type Area = 'tracking' | 'artifacts'

/**
 * MLflow's message when an area isn't served in this mode, or undefined when it is.
 * @param pattern the path pattern with its static prefix.
 */
export function disabled(config: GatewayConfig, area: Area | undefined, pattern: string): string | undefined {
  const rule = pattern.replace(/\{(\w+)(=\*\*)?\}/g, (_, name: string, rest?: string) => (rest ? `<path:${name}>` : `<${name}>`))
  if (area === 'tracking' && config.artifactsOnly) {
    return `Endpoint: ${rule} disabled due to the mlflow server running in \`--artifacts-only\` mode. To enable tracking server functionality, run \`mlflow server\` without \`--artifacts-only\``
  }
  if (area === 'artifacts' && !config.serveArtifacts) {
    return `Endpoint: ${rule} disabled due to the mlflow server running with \`--no-serve-artifacts\`. To enable artifacts server functionality, run \`mlflow server\` with \`--serve-artifacts\``
  }
  return undefined
}
