import type { IncomingMessage } from 'node:http'
import { createContextKey } from '@connectrpc/connect'

/** The HTTP request that a call came with. */
export const httpRequest = createContextKey<IncomingMessage | undefined>(undefined)
