import type { Driver } from '../driver.ts'

/** What a driver's suite needs from a real server. */
export interface Harness extends AsyncDisposable {
  /** A driver below a root of its own that holds nothing yet. */
  openEmpty(): Promise<Driver>
  /** Drivers whose calls must fail: wrong credentials, a missing bucket, a closed port, … */
  readonly failing: readonly Failing[]
  /** Everything that the server itself knows to be there, uploads in progress too; [] once a test has cleaned up. */
  leftovers(driver: Driver): Promise<string[]>
  /** Losing one of these fails the suite. Uploads are expected to be signed where downloads are, unless this says otherwise. */
  readonly capabilities: { multipart: boolean; presign: boolean; presignedUpload?: boolean }
  /** Smallest part but the last that the store takes. */
  readonly partSizeBytesMin?: number
  /** Keys of the suite that the server itself can't hold, whatever the driver does. */
  readonly unfitKeys?: readonly string[]
  /** Whether the server itself keeps folders that it made for an upload which failed. */
  readonly keepsFolders?: boolean
  /** What the server leaves out of signed URLs, whatever the driver asks for: it lets every signature pass, or sends no disposition. */
  readonly unchecked?: readonly ('signatures' | 'dispositions')[]
}

interface Failing {
  name: string
  open: () => Promise<Driver>
  /** Error codes that a call may fail with. */
  codes: readonly string[]
  /** The calls that fail; every one by default. */
  calls?: readonly Call[]
}

export type Call = 'read' | 'write' | 'stat' | 'remove' | 'list'

/** Gives cases the harness once it is there, and drivers with nothing in them. */
export interface Suite {
  harness(): Harness
  /** Runs `action` on an empty driver, removes what `keys` name and checks that nothing is left on the server. */
  withDriver(keys: string[], action: (driver: Driver) => Promise<void>): Promise<void>
}
