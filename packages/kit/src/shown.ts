/** Characters of input that a message quotes: every key, id and name that MLflow allows fits, so its wording stays as it is. */
export const SHOWN_CHARACTERS_MAX = 500

/** `text` as a message quotes it: what is longer is cut and ends in an ellipsis. A pair of surrogates is not parted. */
export function shorten(text: string): string {
  if (text.length <= SHOWN_CHARACTERS_MAX) return text
  const last = text.charCodeAt(SHOWN_CHARACTERS_MAX - 1)
  const end = last >= 0xd800 && last < 0xdc00 ? SHOWN_CHARACTERS_MAX - 1 : SHOWN_CHARACTERS_MAX
  return `${text.slice(0, end)}…`
}
