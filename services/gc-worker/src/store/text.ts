/** Characters of an error that are kept. */
const ERROR_CHARACTERS_MAX = 2_000

/** `text` as PostgreSQL can store it: without NUL and halves of surrogate pairs. */
export const storable = (text: string): string => text.replaceAll('\0', '\u{FFFD}').toWellFormed()

/** An error's text, which may quote input of any length. */
export const storableError = (text: string): string => storable(text.slice(0, ERROR_CHARACTERS_MAX))
