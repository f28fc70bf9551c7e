import { expect } from 'vitest'
import { type HttpClient, httpClient } from '../services/http.ts'
import { millrace, startMillrace } from '../services/millrace.ts'
import { tempFolder } from '../services/process.ts'
import { python } from './python.ts'

export interface StoreSite {
  /** URI below which nothing is yet; any scheme that a driver serves. */
  destination: string
  /** What the server needs to reach it: credentials, endpoints. */
  env?: Record<string, string>
}

/**
 * The unmodified Python client and one store behind an embedded server: proxied URIs, an experiment's own proxied location, an experiment
 * located by the store's URI, and (in a second server) `--default-artifact-root`. Then gc, after which the proxy finds nothing.
 */
export async function storeSession(name: string, { destination, env = {} }: StoreSite): Promise<void> {
  await using folder = await tempFolder(`store-${name}`)
  const cwd = folder.path
  for (const [sub, byDefault] of [
    ['proxied', false],
    ['rooted', true],
  ] as const) {
    const root = `${destination.replace(/\/+$/, '')}/${sub}`
    const args = byDefault ? ['--default-artifact-root', `${root}/by-default`] : []
    const backendStoreUri = `sqlite:///${cwd}/${sub}.db`
    await using server = await startMillrace({ cwd, backendStoreUri, artifactsDestination: root, env, args })
    const options = { cwd, args: [root], env: byDefault ? { BY_DEFAULT: 'yes' } : undefined }
    const runs = JSON.parse(await python('store_session.py', server.url, options)) as string[]
    expect(runs.length).toBeGreaterThan(0)
    const gc = await millrace(['gc', '--tracking-uri', server.url], { cwd })
    expect(gc, gc.stderr).toMatchObject({ code: 0 })
    for (const run of runs) expect(gc.stdout + gc.stderr).toContain(run)
    using client = httpClient(server.url)
    for (const run of runs) {
      for (const place of ['direct', 'by-default/0', 'some/where else', '1']) {
        expect(await filesBelow(client, `${place}/${run}/artifacts`)).toEqual([])
      }
    }
  }
}

/** SeaweedFS goes on listing folders for a while after the last object in them is gone, so only files count. */
async function filesBelow(client: HttpClient, folder: string): Promise<string[]> {
  const query = `path=${encodeURIComponent(folder)}`
  const { files = [] } = await client.ok<{ files?: { path: string; is_dir: boolean }[] }>(
    'GET',
    `/api/2.0/mlflow-artifacts/artifacts?${query}`,
  )
  const found = files.map(({ path, is_dir }) => (is_dir ? filesBelow(client, `${folder}/${path}`) : [`${folder}/${path}`]))
  return (await Promise.all(found)).flat()
}
