import { readFileSync } from 'node:fs'

/** Media types of the registry built into Python's `mimetypes`, which MLflow guesses with: one type and its extensions a line. */
const BUILT_IN = `
application/javascript js mjs
application/json json
application/manifest+json webmanifest
application/msword doc dot wiz
application/n-quads nq
application/n-triples nt
application/octet-stream bin a dll exe o obj so
application/oda oda
application/pdf pdf
application/pkcs7-mime p7c
application/postscript ps ai eps
application/trig trig
application/vnd.apple.mpegurl m3u m3u8
application/vnd.ms-excel xls xlb
application/vnd.ms-powerpoint ppt pot ppa pps pwz
application/wasm wasm
application/x-bcpio bcpio
application/x-cpio cpio
application/x-csh csh
application/x-dvi dvi
application/x-gtar gtar
application/x-hdf hdf
application/x-hdf5 h5
application/x-latex latex
application/x-mif mif
application/x-netcdf cdf nc
application/x-pkcs12 p12 pfx
application/x-pn-realaudio ram
application/x-python-code pyc pyo
application/x-sh sh
application/x-shar shar
application/x-shockwave-flash swf
application/x-sv4cpio sv4cpio
application/x-sv4crc sv4crc
application/x-tar tar
application/x-tcl tcl
application/x-tex tex
application/x-texinfo texi texinfo
application/x-troff roff t tr
application/x-troff-man man
application/x-troff-me me
application/x-troff-ms ms
application/x-ustar ustar
application/x-wais-source src
application/xml xsl rdf wsdl xpdl
application/zip zip
audio/3gpp 3gp 3gpp
audio/3gpp2 3g2 3gpp2
audio/aac aac adts loas ass
audio/basic au snd
audio/mpeg mp3 mp2
audio/opus opus
audio/x-aiff aif aifc aiff
audio/x-pn-realaudio ra
audio/x-wav wav
image/avif avif
image/bmp bmp
image/gif gif
image/heic heic
image/heif heif
image/ief ief
image/jpeg jpg jpe jpeg
image/png png
image/svg+xml svg
image/tiff tiff tif
image/vnd.microsoft.icon ico
image/x-cmu-raster ras
image/x-portable-anymap pnm
image/x-portable-bitmap pbm
image/x-portable-graymap pgm
image/x-portable-pixmap ppm
image/x-rgb rgb
image/x-xbitmap xbm
image/x-xpixmap xpm
image/x-xwindowdump xwd
message/rfc822 eml mht mhtml nws
text/css css
text/csv csv
text/html html htm
text/n3 n3
text/plain txt bat c h ksh pl srt
text/richtext rtx
text/tab-separated-values tsv
text/vtt vtt
text/x-python py
text/x-setext etx
text/x-sgml sgm sgml
text/x-vcard vcf
text/xml xml
video/mp4 mp4
video/mpeg mpeg m1v mpa mpe mpg
video/quicktime mov qt
video/webm webm
video/x-msvideo avi
video/x-sgi-movie movie`

/** The operating system's registries that Python's `mimetypes` reads over its own, later ones winning. */
const SYSTEM_FILES = ['/etc/mime.types', '/etc/httpd/mime.types', '/etc/apache2/mime.types', '/usr/local/etc/mime.types']

const ENCODINGS: Record<string, string> = { '.gz': 'gzip', '.Z': 'compress', '.bz2': 'bzip2', '.xz': 'xz', '.br': 'br' }
const SUFFIXES: Record<string, string> = {
  '.svgz': '.svg.gz',
  '.tgz': '.tar.gz',
  '.taz': '.tar.gz',
  '.tz': '.tar.gz',
  '.tbz2': '.tar.bz2',
  '.txz': '.tar.xz',
}

const TYPES: ReadonlyMap<string, string> = readTypes()

export interface GuessedType {
  type?: string
  encoding?: string
}

/** Media type and content encoding by a file name's extension, as Python's `mimetypes.guess_type` finds them. */
export function guessType(name: string): GuessedType {
  let [base, extension] = splitExtension(name)
  for (let known = SUFFIXES[extension]; known; known = SUFFIXES[extension]) [base, extension] = splitExtension(base + known)
  const encoding = ENCODINGS[extension]
  if (encoding) extension = splitExtension(base)[1]
  return { type: TYPES.get(extension) ?? TYPES.get(extension.toLowerCase()), encoding }
}

/** Base and extension with its dot; leading dots belong to the base, as in Python's `posixpath.splitext`. */
export function splitExtension(name: string): [string, string] {
  const start = name.lastIndexOf('/') + 1
  let first = start
  while (name[first] === '.') first++
  const dot = name.lastIndexOf('.')
  return dot > first || (dot === first && dot > start) ? [name.slice(0, dot), name.slice(dot)] : [name, '']
}

function readTypes(): Map<string, string> {
  const types = new Map<string, string>()
  const add = (text: string) => {
    for (const line of text.split('\n')) {
      const [type, ...extensions] = line.replace(/#.*/, '').trim().split(/\s+/)
      if (type) for (const extension of extensions) types.set(`.${extension}`, type)
    }
  }
  add(BUILT_IN)
  for (const file of SYSTEM_FILES) {
    try {
      add(readFileSync(file, 'utf8'))
    } catch {
      // A registry that isn't there adds nothing.
    }
  }
  return types
}
