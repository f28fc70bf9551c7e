import type { ServerResponse } from 'node:http'
import { type ErrorCode, type MlflowError, toMlflowError } from '@millrace/kit/errors'

type Class = readonly [sqlstate: string, errorClass: string]

const CLIENT_ERROR: Class = ['XXM00', 'CLIENT_INTERNAL_ERROR']

/** `sqlstate` and `error_class` by error code; for other codes MLflow omits the keys. */
const CLASSES: { readonly [K in ErrorCode]?: Class } = {
  BAD_REQUEST: ['KAM00', 'INVALID_PARAMETER_VALUE'],
  INVALID_PARAMETER_VALUE: ['KAM00', 'INVALID_PARAMETER_VALUE'],
  RESOURCE_DOES_NOT_EXIST: ['KAM00', 'RESOURCE_NOT_FOUND'],
  ENDPOINT_NOT_FOUND: ['KAM00', 'RESOURCE_NOT_FOUND'],
  RESOURCE_ALREADY_EXISTS: ['KAM00', 'RESOURCE_ALREADY_EXISTS'],
  PERMISSION_DENIED: ['KAM00', 'PERMISSION_DENIED'],
  FEATURE_DISABLED: ['KAM00', 'FEATURE_DISABLED'],
  INTERNAL_ERROR: CLIENT_ERROR,
  INVALID_STATE: CLIENT_ERROR,
  TEMPORARILY_UNAVAILABLE: CLIENT_ERROR,
}

/** MLflow's JSON error body. */
export function errorBody(error: MlflowError): string {
  const found = CLASSES[error.errorCode]
  const sqlstate = error.sqlstate ?? found?.[0]
  const errorClass = error.errorClass ?? found?.[1]
  const head = `{"error_code": ${JSON.stringify(error.errorCode)}, "message": ${JSON.stringify(error.rawMessage)}`
  return sqlstate && errorClass ? `${head}, "sqlstate": "${sqlstate}", "error_class": ${JSON.stringify(errorClass)}}` : `${head}}`
}

/** Writes MLflow's status and error body for anything thrown. Once the headers are sent it closes the connection instead. */
export function writeError(res: ServerResponse, reason: unknown): void {
  if (res.headersSent) {
    res.destroy()
    return
  }
  const error = toMlflowError(reason)
  const { retryAfterSeconds } = error
  const headers = retryAfterSeconds === undefined ? undefined : { 'Retry-After': String(retryAfterSeconds) }
  write(res, error.httpStatus, 'application/json', errorBody(error), headers)
}

export const writeJson = (res: ServerResponse, body: string, status = 200) => write(res, status, 'application/json', body)

export const writeText = (res: ServerResponse, status: number, body: string) => write(res, status, 'text/plain; charset=utf-8', body)

/** Without a charset, as MLflow's security middleware responds. */
export const writeRefusal = (res: ServerResponse, body: string) => write(res, 403, 'text/plain', body)

export function writeHtml(res: ServerResponse, status: number, body: string, headers?: Record<string, string>): void {
  write(res, status, 'text/html; charset=utf-8', body, headers)
}

function write(res: ServerResponse, status: number, type: string, body: string, headers?: Record<string, string>): void {
  res.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body), ...headers })
  res.end(body)
}
