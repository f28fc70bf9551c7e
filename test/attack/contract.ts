import { globSync } from 'node:fs'
import { join } from 'node:path'
import { type DescMethod, type DescService, getOption } from '@bufbuild/protobuf'
import { http } from '@millrace/proto/google/api/annotations_pb'
import { internal } from '@millrace/proto/millrace/options/v1/rest_pb'
import { repository } from '../services/config.ts'

/** One way to call a method over REST. */
export interface RestCall {
  method: DescMethod
  verb: string
  /** As in google.api.http. */
  pattern: string
}

/** Every public method of the contract, whichever services there are. */
export async function publicMethods(): Promise<DescMethod[]> {
  const files = globSync('proto/gen/millrace/**/*_pb.js', { cwd: repository }).sort()
  const modules = await Promise.all(files.map(file => import(join(repository, file)) as Promise<Record<string, unknown>>))
  const services = modules.flatMap(one => Object.values(one)).filter(isService)
  return services.flatMap(({ methods }) => methods).filter(method => !getOption(method, internal))
}

export function restCalls(methods: readonly DescMethod[]): RestCall[] {
  return methods
    .filter(({ methodKind }) => methodKind === 'unary')
    .flatMap(method => {
      const rule = getOption(method, http)
      return [rule, ...(rule?.additionalBindings ?? [])].flatMap(one => {
        const { case: verb, value } = one?.pattern ?? {}
        return verb && typeof value === 'string' ? { method, verb: verb.toUpperCase(), pattern: value } : []
      })
    })
}

const isService = (value: unknown): value is DescService => (value as DescService | undefined)?.kind === 'service'
