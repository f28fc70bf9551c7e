import { artifactPlace } from '@millrace/kit/artifact-place'
import { artifactsCall, type Clients } from '../dependencies.ts'

const DEPTH_MAX = 3

/**
 * Removes what is left of an experiment's own folder (see ownFolder), or a run's or model's, once its artifacts are gone: folders in
 * which no file is left. A file that nothing of this experiment accounts for stays, with the folders above it: several trackers may share
 * an artifact store, and their experiment numbers coincide.
 * @returns whether nothing is left.
 */
export async function pruneFolder(
  clients: Pick<Clients, 'artifacts' | 'call'>,
  root: string,
  depth = DEPTH_MAX,
  path = '',
): Promise<boolean> {
  const { artifacts, call } = clients
  const uri = artifactPlace(root, path)
  const { files } = await artifacts.list({ uri }, artifactsCall(call))
  let empty = true
  for (const file of files) {
    const below = path === '' ? file.path : `${path}/${file.path}`
    const isEmpty = file.isDir === true && depth > 0 && (await pruneFolder(clients, root, depth - 1, below))
    empty &&= isEmpty
  }
  if (!empty) return false
  const { exists, isDir } = await artifacts.stat({ uri }, artifactsCall(call))
  if (exists && !isDir) return false
  if (exists) await artifacts.delete({ uri }, artifactsCall(call))
  return true
}
