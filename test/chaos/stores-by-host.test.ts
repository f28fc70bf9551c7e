import { testBadNetwork } from './bad-network.ts'
import { openFtp } from './sites/ftp.ts'
import { openHttp } from './sites/http.ts'
import { openSftp } from './sites/sftp.ts'

await testBadNetwork('FTP', openFtp)
await testBadNetwork('SFTP', openSftp)
await testBadNetwork('another tracking server', openHttp)
