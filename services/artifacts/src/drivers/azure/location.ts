import { invalidParameter } from '@millrace/kit/errors'
import { percentDecode } from '@millrace/kit/python-urls'
import { readPrefix } from '../key-prefix.ts'

/** What a location's URI says. */
export interface AzureUri {
  container: string
  account: string
  /** Host of the account's Blob service. */
  host: string
  /** See `readPrefix`. */
  prefix: string
}

/**
 * Source of the rules: MLflow's stores. A `wasbs:` path is taken as written (see `readPrefix`), an `abfss:` path is percent-decoded
 * once and has no slashes at its ends. The hierarchical
 * namespace of `abfss:` is addressed through the account's Blob service, which has the same host name with `blob` for `dfs`.
 */
export function parseAzureUri(uri: string): AzureUri {
  const [, scheme = '', container = '', host = '', path = ''] = /^([a-z]+):\/\/([^@/?#]+)@([^/?#]+)([^?#]*)/i.exec(uri) ?? []
  return scheme.toLowerCase() === 'abfss' ? parseDataLake(container, host, path) : parseBlob(container, host, path)
}

function parseBlob(container: string, host: string, path: string): AzureUri {
  const [, account] = /^([^.]+)\.blob\.core\.(?:windows\.net|chinacloudapi\.cn|usgovcloudapi\.net)$/.exec(host) ?? []
  if (!account) {
    throw invalidParameter(
      'WASBS URI must be of the form <container>@<account>.blob.core.windows.net or <container>@<account>.blob.core.chinacloudapi.cn ' +
        'or <container>@<account>.blob.core.usgovcloudapi.net',
    )
  }
  return { container: checkContainer(container), account, host, prefix: readPrefix(path) }
}

function parseDataLake(container: string, host: string, path: string): AzureUri {
  const [, account, zone = '', suffix] = /^([a-z0-9-]+)(\.[a-z0-9-]+)?\.dfs\.([a-z0-9.-]+)$/i.exec(host) ?? []
  if (!account) throw invalidParameter('ABFSS URI must be of the form abfss://<filesystem>@<account>.<domain_suffix>')
  return { container: checkContainer(container), account, host: `${account}${zone}.blob.${suffix}`, prefix: trimmed(percentDecode(path)) }
}

/** Source of the rule: "Naming containers" of Azure's Blob service. */
function checkContainer(name: string): string {
  if (/^(\$root|\$web|(?=.{3,63}$)[a-z0-9](-?[a-z0-9])*)$/.test(name)) return name
  throw invalidParameter(`'${name}' is not the name of an Azure container: 3 to 63 lower-case letters, digits and single dashes`)
}

const trimmed = (path: string) => path.replace(/^\/+|\/+$/g, '')
