import { accessSync, constants } from 'node:fs'
import { userInfo } from 'node:os'
import { checkInteger, type Env, type Raw, read, refused } from '@millrace/kit/config'
import { checkTimeoutSeconds } from '../settings.ts'

export interface SftpConfig {
  /** For `~` and the usual files below `~/.ssh`. Absent: they are not looked at. */
  homeFolder?: string
  /** Name of the account that the server runs as: the user where neither a URI nor the ssh configuration names one. */
  localUser?: string
  /** In the place of `~/.ssh/config`. */
  sshConfigFile?: string
  /** In the place of every other known_hosts file. */
  knownHostsFile?: string
  password?: string
  privateKeyFile?: string
  /** Of encrypted private keys. */
  passphrase?: string
  agentSocket?: string
  /** For each user on each host. */
  connectionsMax: number
  /** Longest silence of the server within a call, in milliseconds; also the longest wait for a connection. */
  timeoutMs: number
}

export interface RawSftpConfig {
  home?: Raw
  sshConfigFile?: Raw
  knownHostsFile?: Raw
  password?: Raw
  privateKeyFile?: Raw
  passphrase?: Raw
  agentSocket?: Raw
  connectionsMax?: Raw
  timeoutSeconds?: Raw
}

const CONNECTIONS = 4
const CONNECTIONS_MAX = 64
const TIMEOUT_SECONDS = 60

export function readSftpConfig(env: Env): RawSftpConfig {
  const variable = (name: string) => read(env, {}, undefined, name)
  return {
    home: variable('HOME'),
    sshConfigFile: variable('MILLRACE_SFTP_CONFIG'),
    knownHostsFile: variable('MILLRACE_SFTP_KNOWN_HOSTS'),
    password: variable('MILLRACE_SFTP_PASSWORD'),
    privateKeyFile: variable('MILLRACE_SFTP_PRIVATE_KEY'),
    passphrase: variable('MILLRACE_SFTP_PRIVATE_KEY_PASSPHRASE'),
    agentSocket: variable('SSH_AUTH_SOCK'),
    connectionsMax: variable('MILLRACE_SFTP_CONNECTIONS_MAX'),
    timeoutSeconds: variable('MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT'),
  }
}

export function checkSftpConfig(raw: RawSftpConfig): SftpConfig {
  return {
    homeFolder: raw.home?.value,
    localUser: accountName(),
    sshConfigFile: checkReadable(raw.sshConfigFile, 'a readable file in the form of ~/.ssh/config'),
    knownHostsFile: checkReadable(raw.knownHostsFile, 'a readable file in the form of ~/.ssh/known_hosts'),
    password: raw.password?.value,
    privateKeyFile: checkReadable(raw.privateKeyFile, 'a readable file with a private key'),
    passphrase: raw.passphrase?.value,
    agentSocket: raw.agentSocket?.value,
    connectionsMax: checkInteger(raw.connectionsMax, CONNECTIONS, 1, CONNECTIONS_MAX),
    timeoutMs: checkTimeoutSeconds(raw.timeoutSeconds, TIMEOUT_SECONDS) * 1000,
  }
}

function checkReadable(raw: Raw | undefined, allowed: string): string | undefined {
  if (!raw) return undefined
  try {
    accessSync(raw.value, constants.R_OK)
    return raw.value
  } catch (error) {
    throw refused(raw, allowed, error)
  }
}

/** A container may run under a number that no account has. */
function accountName(): string | undefined {
  try {
    return userInfo().username
  } catch {
    return undefined
  }
}
