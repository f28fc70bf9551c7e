const SLASH = 0x2f

/** `text` without the slashes at its end. A loop: an expression would look at a run of slashes once from each of them. */
export function withoutTrailingSlashes(text: string): string {
  let end = text.length
  while (end > 0 && text.charCodeAt(end - 1) === SLASH) end--
  return text.slice(0, end)
}
