/**
 * What keys below a bucket's URI begin with, from the URI's path. Only the first slash separates it from the bucket and only the last one
 * from the keys: `s3://b//team` has keys that begin with `/team/`, as MLflow's stores for S3, Google Cloud Storage and Azure have it.
 */
export function readPrefix(path: string): string {
  const prefix = path.replace(/^\//, '')
  return prefix.length > 1 && prefix.endsWith('/') && !prefix.endsWith('//') ? prefix.slice(0, -1) : prefix
}

/** Name of the object at `key`; "" for a whole bucket. */
export function nameBelow(prefix: string, key: string): string {
  return key === '' ? prefix.replace(/\/$/, '') : folderBelow(prefix) + key
}

/** What the names of everything below `key` begin with; "" for a whole bucket. */
export function folderBelow(prefix: string, key = ''): string {
  const folder = prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`
  return key === '' ? folder : `${folder}${key}/`
}
