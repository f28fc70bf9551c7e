/** Pages of MLflow's web framework. Clients print them in error messages. */
function page(title: string, heading: string, text: string): string {
  return `<!doctype html>\n<html lang=en>\n<title>${title}</title>\n<h1>${heading}</h1>\n<p>${text}</p>\n`
}

export const NOT_FOUND = page(
  '404 Not Found',
  'Not Found',
  'The requested URL was not found on the server. If you entered the URL manually please check your spelling and try again.',
)

export const METHOD_NOT_ALLOWED = page('405 Method Not Allowed', 'Method Not Allowed', 'The method is not allowed for the requested URL.')

export const RANGE_NOT_SATISFIABLE = page(
  '416 Requested Range Not Satisfiable',
  'Requested Range Not Satisfiable',
  'The server cannot provide the requested range.',
)

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;' }

const escapeHtml = (text: string) => text.replace(/[&<>"']/g, c => ENTITIES[c] ?? c)

export function redirectPage(location: string): string {
  const url = escapeHtml(location)
  const link = `<a href="${url}">${url}</a>`
  return `<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n<p>You should be redirected automatically to the target URL: ${link}. If not, click the link.\n`
}
