/**
 * Addresses `path` below an artifact root in the form of ArtifactStoreService. A root may have `#` in it (a folder `c#`, a URI with a
 * fragment), an artifact's path never does: the last `#` tells the two apart.
 */
export function artifactPlace(root: string, path = ''): string {
  return path === '' && !root.includes('#') ? root : `${root}#${path}`
}
