import { readArtifactPlace } from '@millrace/kit/artifact-place'
import { invalidParameter } from '@millrace/kit/errors'
import { withoutTrailingSlashes } from '@millrace/kit/slashes'
import type { ArtifactsConfig } from './config.ts'
import { openSchemes } from './drivers/table.ts'
import { HeldBytes } from './held-bytes.ts'
import { checkHost, isAtOneOf, namesHost } from './host-policy.ts'
import { checkFolder } from './local-policy.ts'
import { profileOf } from './profiles.ts'
import { ArtifactStore } from './store.ts'
import { isLocal, proxiedPath, schemeOf, unknownScheme } from './uri.ts'

interface OpenedStore {
  store: ArtifactStore
  /** Below the store's root. */
  path: string
  /** Of the store behind the URI: `file`, `s3`, … */
  scheme: string
  /** Whether the URI led to the artifacts destination, whose root no client may remove. */
  proxied: boolean
  /** Whether the URI named a host that is neither this server's nor one that the operator named, and led there nevertheless. */
  hostIgnored: boolean
}

/** Every store that this process can reach. Disposing it closes their connections. */
export interface Stores extends AsyncDisposable {
  /**
   * @param uri see `artifactPlace`: `ROOT#PATH`, or a `ROOT` without `#`. ROOT is `mlflow-artifacts:/…` or an MLflow proxy's http(s) URL
   * (both lead below the artifacts destination, unless they name a host that the operator did, or hosts are followed), an absolute path,
   * or a URI of a registered scheme.
   * @throws INVALID_PARAMETER_VALUE for an unknown scheme, a malformed URI or a host that the operator didn't name; PERMISSION_DENIED for
   * a local folder outside those that the operator allows.
   */
  open(uri: string): Promise<OpenedStore>
  /** The store behind `mlflow-artifacts:`; undefined when nothing is proxied. */
  destination(): Promise<OpenedStore> | undefined
}

/** Schemes by which artifacts are addressed that a tracking server serves. */
const PROXY_SCHEMES = ['http', 'https', 'mlflow-artifacts']

export function openStores(config: ArtifactsConfig, held = new HeldBytes(config.limits.heldBytesMax)): Stores {
  const stack = new AsyncDisposableStack()
  const shared = stack.use(openSchemes(config.stores, held))
  const own = new Map(config.profiles.map(profile => [profile, stack.use(openSchemes(profile.settings, held))]))
  const known = [...shared.byName.keys()]
  const policy = {
    trusted: [
      config.artifactsDestination,
      config.defaultArtifactRoot,
      config.trackingUri,
      ...config.profiles.flatMap(({ prefixes }) => prefixes),
    ],
    allowedSchemes: [...config.allowedHostAddressedSchemes, ...(config.followHosts ? PROXY_SCHEMES : [])],
  }

  const openDirect = async (root: string, isOperators = false) => {
    const scheme = schemeOf(root)
    const profile = profileOf(root, config.profiles)
    const { byName } = (profile && own.get(profile)) ?? shared
    const found = byName.get(scheme)
    checkHost(root, policy)
    if (!found) throw unknownScheme(root, known)
    if (isLocal(root) && config.allowedFolders && !isOperators) await checkFolder(root, config.allowedFolders)
    return { store: new ArtifactStore(await found.open(root, { isTrusted: isAtOneOf(policy.trusted, root) })), scheme: scheme || 'file' }
  }

  let destination: ReturnType<typeof openDirect> | undefined
  const openDestination = async (path: string, hostIgnored = false): Promise<OpenedStore> => {
    if (!config.artifactsDestination) throw invalidParameter('This server does not serve artifacts, so mlflow-artifacts: URIs lead nowhere')
    const opening = destination ?? openDirect(config.artifactsDestination, true)
    destination = opening
    try {
      return { ...(await opening), path, proxied: true, hostIgnored }
    } catch (error) {
      // A store that was down is asked again.
      if (destination === opening) destination = undefined
      throw error
    }
  }

  return {
    async open(uri) {
      const { root, path } = readArtifactPlace(uri)
      const isDirect = isAtOneOf(policy.trusted, root) || (config.followHosts && namesHost(root))
      const proxied = isDirect ? undefined : proxiedPath(root)
      if (proxied !== undefined && (config.artifactsDestination || schemeOf(root) === 'mlflow-artifacts')) {
        const hostIgnored = namesHost(root) && !isAtOneOf([config.publicUrl], root)
        return openDestination(path === '' || proxied === '' ? proxied + path : `${withoutTrailingSlashes(proxied)}/${path}`, hostIgnored)
      }
      return { ...(await openDirect(root)), path, proxied: false, hostIgnored: false }
    },
    destination: () => (config.artifactsDestination ? openDestination('') : undefined),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
