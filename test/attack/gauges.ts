import { expect } from 'vitest'

/** Metrics that count what is open: each is 0 when nothing is. */
const OPEN =
  /^millrace_(http_requests_in_progress|json_body_held_bytes|artifact_(?:streams|bytes_in_flight|held_bytes))(\{[^}]*\})? (\S+)$/gm

/** By name and labels what a process says is open. */
export async function openThings(url: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${url}/metrics`)).text()
  return Object.fromEntries([...text.matchAll(OPEN)].map(([, name, labels = '', value]) => [`${name}${labels}`, Number(value)]))
}

/** Waits until a process has given back everything that its requests took. */
export async function expectNothingOpen(...urls: string[]): Promise<void> {
  for (const url of urls) {
    await expect
      .poll(async () => ({ url, open: Object.entries(await openThings(url)).filter(([, value]) => value !== 0) }))
      .toEqual({ url, open: [] })
  }
}
