import type { Opened } from './opened.ts'

/** Closing it closes the port first, then what the port needs, last opened first. */
export function closeWith(stack: AsyncDisposableStack, port: Opened): Opened {
  const { url } = stack.use(port)
  const opened = stack.move()
  return { url, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}
