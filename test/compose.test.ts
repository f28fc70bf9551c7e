import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { OPTIONS } from '@millrace/server/cli/options'
import { createProgram } from '@millrace/server/cli/program'
import { TARGETS } from '@millrace/server/targets'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { repository } from './services/config.ts'

interface Service {
  image: string
  entrypoint?: string[]
  command?: string[]
  environment?: Record<string, string>
  depends_on?: string[] | Record<string, { condition: string }>
  healthcheck?: { test: string[] }
  ports?: string[]
  volumes?: string[]
}

interface Compose {
  services: Record<string, Service>
  volumes: Record<string, unknown>
}

const text = readFileSync(join(repository, 'docker-compose.yml'), 'utf8')
const compose: Compose = parse(text, { merge: true })
const ours = Object.entries(compose.services).filter(([, service]) => service.image === 'millrace' && !service.entrypoint)

/** Variables of the environment that some option of the command line stands for, and those that the S3 driver reads. */
const variables = new Set([
  ...Object.values(OPTIONS).flatMap(option => ('env' in option ? [...option.env] : [])),
  ...['MLFLOW_S3_ENDPOINT_URL', 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_REGION'],
])

describe('docker-compose.yml', () => {
  test('runs one gateway, two metadata and two artifacts services and one gc-worker', () => {
    const count = Object.groupBy(ours, ([, service]) => service.command?.[0] ?? '')
    expect(Object.fromEntries(Object.entries(count).map(([target, list]) => [target, list?.length]))).toEqual({
      gateway: 1,
      metadata: 2,
      artifacts: 2,
      'gc-worker': 1,
    })
  })

  test.each(ours)('%s is started with options that its target has', async (_name, service) => {
    const program = createProgram(() => undefined)
    let flags: Record<string, unknown> | undefined
    for (const command of program.commands) {
      command.action((given: Record<string, unknown>) => {
        flags = given
      })
    }
    await program.parseAsync(service.command ?? [], { from: 'user' })
    expect(flags).toMatchObject({ port: '5000' })
    expect(TARGETS).toHaveProperty([service.command?.[0] ?? ''])
  })

  test.each(ours)('%s is given variables that Millrace reads', (_name, { environment = {} }) => {
    for (const name of Object.keys(environment)) expect(variables).toContain(name)
  })

  test('every URL between services names a service', () => {
    const hosts = [...text.matchAll(/(?:http|redis|postgresql):\/\/(?:[^@\s]*@)?([a-z0-9-]+):\d+/g)].map(match => match[1])
    for (const host of hosts.filter(one => one !== 'localhost')) expect(Object.keys(compose.services)).toContain(host)
  })

  test('every service that is waited for is there, and healthy ones say how they are asked', () => {
    for (const { depends_on: dependsOn = {} } of Object.values(compose.services)) {
      const conditions = Array.isArray(dependsOn) ? Object.fromEntries(dependsOn.map(name => [name, { condition: '' }])) : dependsOn
      for (const [name, { condition }] of Object.entries(conditions)) {
        expect(Object.keys(compose.services)).toContain(name)
        if (condition === 'service_healthy') expect(compose.services[name]?.healthcheck?.test).toBeDefined()
      }
    }
  })

  test('only the gateway and the store of presigned URLs are open to others', () => {
    const open = Object.entries(compose.services).filter(([, service]) => service.ports)
    expect(open.map(([name]) => name)).toEqual(['gateway', 's3'])
  })

  test('no password is written down', () => {
    expect(text.match(/(?:PASSWORD|SECRET\w*): (?!\$\{)/g)).toBeNull()
  })
})
