import { expect } from 'vitest'
import type { HttpClient } from './http.ts'

const api = '/api/2.0/mlflow-artifacts'

export interface Upload {
  upload_id: string
  credentials: { url: string; part_number: number }[]
}

/** Begins an upload in parts of `folder/path`. */
export function createUpload(client: HttpClient, folder: string, path: string, num_parts: number): Promise<Upload> {
  return client.ok<Upload>('POST', `${api}/mpu/create/${folder}`, { path, num_parts })
}

export interface SentPart {
  part_number: number
  etag: string
  url: string
}

/** Sends a part to the server that the client talks to, whatever host its URL names. */
export async function sendPart(client: HttpClient, url: string, content: Buffer, part_number: number): Promise<SentPart> {
  const { status, headers, text } = await client.send('PUT', new URL(url).pathname, content)
  expect(status, text).toBe(200)
  return { part_number, etag: String(headers.etag), url }
}
