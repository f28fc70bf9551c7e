import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ensurePackages, which } from './install.ts'
import { answers, freePort, start, tempFolder } from './process.ts'

export interface Nginx extends AsyncDisposable {
  readonly url: string
}

const PATH = '/usr/sbin:/usr/local/sbin:/usr/bin'

/**
 * nginx with nothing set but what is said here.
 * @param locations what stands inside `server { … }`; `http://up` is `port` of this machine.
 */
export async function startNginx(port: number, locations: string): Promise<Nginx> {
  await ensurePackages(['nginx-light'], () => which('nginx', PATH) !== undefined)
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('nginx')).path
  const own = await freePort()
  const file = join(folder, 'nginx.conf')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${folder}/${name};`).join(' ')
  await writeFile(
    file,
    `daemon off; user root; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
events {}
http {
  access_log off; client_max_body_size 0; ${temporary}
  upstream up { server 127.0.0.1:${port}; }
  server { listen 127.0.0.1:${own}; location = /alive { return 200; } ${locations} }
}
`,
  )
  const url = `http://127.0.0.1:${own}`
  stack.use(
    await start({
      command: which('nginx', PATH) ?? 'nginx',
      args: ['-c', file, '-p', folder, '-e', join(folder, 'error.log')],
      cwd: folder,
      ready: () => answers(`${url}/alive`),
    }),
  )
  const owned = stack.move()
  return { url, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
