import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type TempFolder, tempFolder } from '../../../test/services/process.ts'
import { findCluster } from '../src/drivers/hdfs/cluster.ts'
import { checkHdfsConfig, type HdfsConfig, readHdfsConfig } from '../src/drivers/hdfs/config.ts'
import { parseHdfsUri } from '../src/drivers/hdfs/location.ts'

type Env = Record<string, string>

const config = (env: Env = {}): HdfsConfig => checkHdfsConfig(readHdfsConfig(env))

/** As MLFLOW_PYARROW_EXTRA_CONF takes them, which needs no file. */
const withProperties = (properties: Env, env: Env = {}) => {
  const base = config(env)
  return { ...base, properties: new Map([...base.properties, ...Object.entries(properties)]) }
}

describe('locations', () => {
  test.each([
    ['hdfs://nn:8020/a/b', { scheme: 'hdfs', host: 'nn', port: 8020, path: '/a/b' }],
    ['hdfs://NN.example/a//b/./c/', { scheme: 'hdfs', host: 'nn.example', port: undefined, path: '/a/b/c' }],
    ['hdfs:///', { scheme: 'hdfs', host: '', port: undefined, path: '/' }],
    ['hdfs:/a b%20c', { scheme: 'hdfs', host: '', port: undefined, path: '/a b%20c' }],
    ['hdfs://alice@nn/a', { scheme: 'hdfs', host: 'nn', port: undefined, path: '/a' }],
    ['viewfs://Table/a', { scheme: 'viewfs', host: 'table', port: undefined, path: '/a' }],
    ['webhdfs://[::1]:9870/a', { scheme: 'webhdfs', host: '[::1]', port: 9870, path: '/a' }],
  ])('%s', (uri, expected) => {
    expect(parseHdfsUri(uri)).toEqual(expected)
  })

  test.each(['webhdfs:///a', 'swebhdfs:///a', 'hdfs://nn:99999/a', 'hdfs://nn/a/../b', 'hdfs://n n/a', 'hdfs://nn:x/a', 'hdfs:relative'])(
    'refuses %s',
    uri => {
      expect(() => parseHdfsUri(uri)).toThrow(/is not of the form/)
    },
  )
})

describe('clusters', () => {
  const HA = {
    'fs.defaultFS': 'hdfs://pond/base',
    'dfs.nameservices': 'pond, lake',
    'dfs.ha.namenodes.pond': 'a,b',
    'dfs.namenode.http-address.pond.a': 'one:1111',
    'dfs.namenode.http-address.pond.b': '0.0.0.0:2222',
    'dfs.namenode.rpc-address.pond.b': 'two:8020',
    'dfs.namenode.http-address.lake': 'three:3333',
  }
  const VIEW = {
    ...HA,
    'fs.viewfs.mounttable.default.link./data': 'hdfs://lake/store',
    'fs.viewfs.mounttable.default.link./data2/deep': 'viewfs://other/x',
    'fs.viewfs.mounttable.other.linkMergeSlash': 'hdfs://pond/merged',
    'fs.viewfs.mounttable.fall.link./a': 'hdfs://lake/a',
    'fs.viewfs.mounttable.fall.linkFallback': 'hdfs://lake/rest',
    'fs.viewfs.mounttable.circle.linkMergeSlash': 'viewfs://circle/',
    'fs.viewfs.mounttable.foreign.linkMergeSlash': 's3a://bucket/',
  }
  const pond = ['http://one:1111', 'http://two:2222']

  test.each<[string, Env, { endpoints: string[]; path: string; isConfigured: boolean }]>([
    ['hdfs://nn:8020/a', {}, { endpoints: ['http://nn:9870'], path: '/a', isConfigured: false }],
    ['hdfs://nn:8020/a', { 'dfs.http.policy': 'HTTPS_ONLY' }, { endpoints: ['https://nn:9871'], path: '/a', isConfigured: false }],
    ['webhdfs://nn:50070/a', {}, { endpoints: ['http://nn:50070'], path: '/a', isConfigured: false }],
    ['swebhdfs://nn/a', {}, { endpoints: ['https://nn:9871'], path: '/a', isConfigured: false }],
    ['hdfs:///a', HA, { endpoints: pond, path: '/base/a', isConfigured: true }],
    ['hdfs://Pond/a', HA, { endpoints: pond, path: '/a', isConfigured: true }],
    ['webhdfs://pond/a', HA, { endpoints: pond, path: '/a', isConfigured: true }],
    ['hdfs://two:8020/a', HA, { endpoints: ['http://two:2222'], path: '/a', isConfigured: true }],
    ['hdfs://lake/a', HA, { endpoints: ['http://three:3333'], path: '/a', isConfigured: true }],
    ['hdfs://elsewhere/a', HA, { endpoints: ['http://elsewhere:9870'], path: '/a', isConfigured: false }],
    [
      'hdfs:///a',
      { 'fs.defaultFS': 'hdfs://nn:8020', 'dfs.namenode.http-address': 'web:1234' },
      { endpoints: ['http://web:1234'], path: '/a', isConfigured: true },
    ],
    ['viewfs:///data/x', VIEW, { endpoints: ['http://three:3333'], path: '/store/x', isConfigured: true }],
    ['viewfs:///data2/deep/x', VIEW, { endpoints: pond, path: '/merged/x/x', isConfigured: true }],
    ['viewfs://fall/b/c', VIEW, { endpoints: ['http://three:3333'], path: '/rest/b/c', isConfigured: true }],
  ])('%s', (uri, properties, expected) => {
    expect(findCluster(parseHdfsUri(uri), withProperties(properties))).toEqual(expected)
  })

  test.each<[string, Env, RegExp]>([
    ['hdfs:///a', {}, /names no host/],
    ['hdfs:///a', { 'fs.defaultFS': 'file:///' }, /names no host/],
    ['viewfs://unknown/a', VIEW, /no mount table/],
    ['viewfs:///elsewhere', VIEW, /not below a mount point/],
    ['viewfs:///', VIEW, /not below a mount point/],
    ['viewfs://circle/a', VIEW, /in a circle/],
    ['viewfs://foreign/a', VIEW, /another kind of store/],
    ['hdfs://pond/a', { 'dfs.nameservices': 'pond', 'dfs.ha.namenodes.pond': 'a' }, /dfs\.namenode\.http-address\.pond\.a/],
  ])('refuses %s', (uri, properties, message) => {
    expect(() => findCluster(parseHdfsUri(uri), withProperties(properties))).toThrow(message)
  })

  test('endpoints of the settings go before all others, but for webhdfs locations', () => {
    const settings = withProperties(HA, { MILLRACE_WEBHDFS_URL: 'http://gateway:14000/webhdfs/v1/,http://other:14000' })
    const endpoints = ['http://gateway:14000', 'http://other:14000']
    for (const uri of ['hdfs://nn/a', 'hdfs:///a', 'viewfs:///a']) {
      expect(findCluster(parseHdfsUri(uri), settings)).toEqual({ endpoints, path: '/a', isConfigured: true })
    }
    expect(findCluster(parseHdfsUri('webhdfs://nn/a'), settings).endpoints).toEqual(['http://nn:9870'])
  })
})

describe('settings', () => {
  let folder: TempFolder
  beforeAll(async () => {
    folder = await tempFolder('hadoop-conf')
  })
  afterAll(() => folder[Symbol.asyncDispose]())

  test('properties come from both files, what they include, and MLflow’s extra ones', async () => {
    const path = join(folder.path, 'good')
    await mkdir(path)
    await writeFile(
      join(path, 'core-site.xml'),
      `<?xml version="1.0" encoding="UTF-8"?>
<?xml-stylesheet type="text/xsl" href="configuration.xsl"?>
<!-- Licensed <property><name>commented</name><value>out</value></property> -->
<configuration xmlns:xi="http://www.w3.org/2001/XInclude">
  <xi:include href="more.xml"/>
  <property><name> fs.defaultFS </name><value>
    hdfs://\${who}:8020 </value><final>true</final></property>
  <property><name>a&amp;b</name><value>\${unknown} \${who}</value></property>
  <property><name>empty</name><value/></property>
</configuration>`,
    )
    await writeFile(join(path, 'more.xml'), '<configuration><property><name>who</name><value>nn</value></property></configuration>')
    await writeFile(join(path, 'hdfs-site.xml'), '<configuration></configuration>')
    const { properties } = config({ HADOOP_CONF_DIR: path, MLFLOW_PYARROW_EXTRA_CONF: 'x=1, y=a=b' })
    expect(Object.fromEntries(properties)).toEqual({
      who: 'nn',
      'fs.defaultFS': 'hdfs://nn:8020',
      'a&b': `\${unknown} nn`,
      empty: '',
      x: '1',
      y: 'a=b',
    })
  })

  test('a folder without the files has no properties; a broken file is refused', async () => {
    expect(config({ HADOOP_CONF_DIR: folder.path }).properties.size).toBe(0)
    const path = join(folder.path, 'bad')
    await mkdir(path)
    for (const broken of ['', '<configuration><property></configuration>', '<other></other>', '<configuration>']) {
      await writeFile(join(path, 'core-site.xml'), broken)
      expect(() => config({ HADOOP_CONF_DIR: path })).toThrow(/HADOOP_CONF_DIR/)
    }
  })

  test('the user is MLflow’s, else Hadoop’s, else the process’s', () => {
    expect(config({ MLFLOW_KERBEROS_USER: 'k', HADOOP_USER_NAME: 'h' }).user).toBe('k')
    expect(config({ HADOOP_USER_NAME: 'h' }).user).toBe('h')
    expect(config().user).toBeTruthy()
  })

  test('Kerberos is used with a ticket cache, or when Hadoop’s configuration says so', () => {
    expect(config({ MLFLOW_KERBEROS_USER: 'k' }).kerberos).toBeUndefined()
    expect(config({ MLFLOW_KERBEROS_TICKET_CACHE: '/c', MLFLOW_KERBEROS_USER: 'k' }).kerberos).toEqual({
      ticketCache: '/c',
      principal: 'k',
      module: 'kerberos',
    })
    const extra = { MLFLOW_PYARROW_EXTRA_CONF: 'hadoop.security.authentication=kerberos' }
    expect(config(extra).kerberos).toEqual({ ticketCache: undefined, principal: undefined, module: 'kerberos' })
  })

  test.each<[Env, RegExp]>([
    [{ MLFLOW_PYARROW_EXTRA_CONF: 'novalue' }, /MLFLOW_PYARROW_EXTRA_CONF/],
    [{ MILLRACE_WEBHDFS_URL: 'nn:9870' }, /MILLRACE_WEBHDFS_URL/],
    [{ MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT: '0' }, /MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT/],
    [{ MILLRACE_WEBHDFS_CA_BUNDLE: '/nowhere' }, /MILLRACE_WEBHDFS_CA_BUNDLE/],
  ])('refuses %j', (env, message) => {
    expect(() => config(env)).toThrow(message)
  })
})
