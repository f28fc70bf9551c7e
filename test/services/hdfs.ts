import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { cacheFolder, repository } from './config.ts'
import { ensurePackages, which } from './install.ts'
import { eventually, freeze, runOk, start, tempFolder } from './process.ts'

const INSTALL_TIMEOUT_MS = 600_000
const START_TIMEOUT_MS = 90_000

export interface HdfsServer extends AsyncDisposable {
  /** URLs of the name nodes; the first is the active one at the start. */
  readonly nameNodes: readonly string[]
  /** `active N`, `stop N`, `start N`, `safemode on|off`, `quota PATH NAMES BYTES`, `mode PATH OCTAL` of a folder, made when absent. */
  command(line: string): Promise<void>
  /** Everything below a folder, as the active name node has it. */
  contents(path: string): Promise<string[]>
  /** Stops the name nodes and the data node together, until `thaw`. */
  freeze(): Promise<void>
  thaw(): void
}

export interface HdfsOptions {
  nameNodes?: number
  kerberos?: { keytab: string; realm: string; configFile: string }
}

/** Name nodes and a data node of Hadoop, in one process. */
export async function startHdfs({ nameNodes = 1, kerberos }: HdfsOptions = {}): Promise<HdfsServer> {
  const libraries = await hadoopLibraries()
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(await tempFolder('hdfs')).path
  const program = join(repository, 'test/services/hadoop/MiniCluster.java')
  const options = ['-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-Dorg.slf4j.simpleLogger.defaultLogLevel=warn']
  if (kerberos) options.push(`-Djava.security.krb5.conf=${kerberos.configFile}`)
  const secrets = kerberos ? [kerberos.keytab, kerberos.realm] : []
  const args = [...options, '-cp', `${libraries}/*`, program, join(folder, 'data'), String(nameNodes), ...secrets]
  const server = stack.use(await start({ command: 'java', args, cwd: folder }))
  let ended: unknown
  server.exited.then(code => {
    ended = code
  })
  const [commands = 0, ...ports] = await eventually(
    'Hadoop is up',
    async () => {
      if (ended !== undefined) throw new Error(`Hadoop ended with ${ended}:\n${server.log().slice(-4_000)}`)
      return /^READY (.*)$/m.exec(server.log())?.[1]?.split(' ').map(Number)
    },
    START_TIMEOUT_MS,
  )
  const moved = stack.move()
  const command = async (line: string) => {
    const socket = connect(commands, '127.0.0.1')
    socket.write(`${line}\n`)
    const answer = (await text(socket)).trim()
    if (!/^OK\b/.test(answer)) throw new Error(answer)
    return answer.split(' ').slice(1)
  }
  return {
    nameNodes: ports.map(port => `http://localhost:${port}`),
    async command(line) {
      await command(line)
    },
    contents: async path => (await command(`list ${encodeURIComponent(path)}`)).map(name => decodeURIComponent(name.replaceAll('+', ' '))),
    freeze: () => freeze(server.pid),
    thaw: () => process.kill(server.pid, 'SIGCONT'),
    async [Symbol.asyncDispose]() {
      await server.end('SIGKILL')
      await moved.disposeAsync()
    },
  }
}

/** The folder with Hadoop's libraries, fetched by Maven on first use. */
async function hadoopLibraries(): Promise<string> {
  const hasJava = () => which('javac') !== undefined && which('mvn') !== undefined
  await ensurePackages(['openjdk-17-jdk-headless', 'maven'], hasJava)
  const folder = join(cacheFolder, 'hadoop')
  const complete = join(folder, 'complete')
  const libraries = join(folder, 'lib')
  if (existsSync(complete)) return libraries
  const pom = join(repository, 'test/services/hadoop/pom.xml')
  const script =
    'mkdir -p "$1"; flock "$1.lock" sh -c \'test -f "$1/complete" || { mvn -q -B -f "$2" "$3" "$4" "$5" && touch "$1/complete"; }\' sh "$@"'
  const goal = 'org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies'
  await runOk('sh', ['-c', script, 'sh', folder, pom, goal, `-DoutputDirectory=${libraries}`, '-Dmdep.overWriteSnapshots=true'], {
    timeoutMs: INSTALL_TIMEOUT_MS,
  })
  return libraries
}
