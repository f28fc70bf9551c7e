import type { RawRoute } from './route.ts'

export const rawRoutes: readonly RawRoute[] = []
