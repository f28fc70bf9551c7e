/** A store's root and the path below it, as it is written. */
export interface ArtifactPlace {
  root: string
  path: string
}

/**
 * Addresses `path` below an artifact root in the form of ArtifactStoreService: `ROOT#PATH`. A root may have `#` in it (a folder `c#`, a
 * URI with a fragment), the path has `%23` for it and `%25` for `%`: the last `#` tells the two apart.
 */
export function artifactPlace(root: string, path = ''): string {
  if (path === '') return root.includes('#') ? `${root}#` : root
  return `${root}#${/[%#]/.test(path) ? path.replace(/[%#]/g, sign => (sign === '#' ? '%23' : '%25')) : path}`
}

/** What `artifactPlace` was given. */
export function readArtifactPlace(uri: string): ArtifactPlace {
  const at = uri.lastIndexOf('#')
  if (at < 0) return { root: uri, path: '' }
  const path = uri.slice(at + 1)
  return { root: uri.slice(0, at), path: path.includes('%') ? path.replace(/%2([35])/g, (_, digit) => (digit === '3' ? '#' : '%')) : path }
}
