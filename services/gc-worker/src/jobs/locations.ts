import { posix } from 'node:path'
import { localPathOf } from '@millrace/kit/local-paths'
import { percentDecode } from '@millrace/kit/python-urls'

/**
 * Whether everything at `uri` may be removed: it names something below the root of a store. A bucket, a drive, the artifacts
 * destination itself, an empty or a climbing path never do. A local path may climb where its own folders follow, as `../store/RUN/artifacts`
 * of an MLflow that was started elsewhere.
 */
export function isRemovable(uri: string): boolean {
  const local = localPathOf(uri)
  if (local !== undefined) {
    const named = segmentsOf(posix.normalize(local)).filter(segment => segment !== '..')
    return named.length >= (local.split('/').includes('..') ? 2 : 1)
  }
  const path = pathOf(uri)
  return path.length > 0 && !path.some(segment => percentDecode(segment).split('/').includes('..'))
}

/**
 * The first folder that a relative location goes through, as `mlruns` or `../store`; undefined for other locations. Where it isn't, this
 * process works in another folder than the one that the location is relative to.
 */
export function relativeRoot(uri: string): string | undefined {
  const local = localPathOf(uri)
  if (local === undefined || local.startsWith('/')) return undefined
  const segments = segmentsOf(posix.normalize(local))
  const at = segments.findIndex(segment => segment !== '..')
  return at < 0 ? undefined : segments.slice(0, at + 1).join('/')
}

/**
 * The folder that an experiment's location names, if it is the one that the server chose for it: `<root>/<experiment id>`, where root is
 * `mlflow-artifacts:/` or the operator's default artifact root. A location that a user chose is never taken for the experiment's own,
 * since other things may live there.
 */
export function ownFolder(location: string, experimentId: string, defaultRoot: string | undefined): string | undefined {
  const trimmed = location.replace(/\/+$/, '')
  const roots = ['mlflow-artifacts:', ...(defaultRoot ? [defaultRoot.replace(/\/+$/, '')] : [])]
  return experimentId !== '' && roots.some(root => trimmed === `${root}/${experimentId}`) ? trimmed : undefined
}

/** The folder around the artifacts of a run or model that is its own: `…/ID` of `…/ID/artifacts`. */
export function folderAround(uri: string, id: string): string | undefined {
  const own = `/${id}/artifacts`
  const trimmed = uri.replace(/\/+$/, '')
  return id !== '' && trimmed.endsWith(own) ? trimmed.slice(0, -'/artifacts'.length) : undefined
}

/** Route below which a tracking server has its artifacts. */
const SERVED = /^.*\/api\/2\.0\/mlflow-artifacts\/artifacts(?=\/|$)/s

/** Segments of the path below the bucket, host or tracking server. */
function pathOf(uri: string): string[] {
  const [head] = /^[a-z][a-z0-9+.-]*:(?:\/\/[^/?#]*)?/i.exec(uri) ?? ['']
  const path = uri.slice(head.length).replace(/[?#].*$/s, '')
  const below = /^(https?|mlflow-artifacts):/i.test(head) ? path.replace(SERVED, '') : path
  return segmentsOf(below)
}

const segmentsOf = (path: string) => path.split('/').filter(segment => segment !== '' && segment !== '.')
