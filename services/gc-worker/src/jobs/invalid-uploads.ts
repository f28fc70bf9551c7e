import { type MlflowError, toMlflowError } from '@millrace/kit/errors'
import { checkUpload } from '@millrace/kit/upload-limits'
import type { Upload } from '../store/uploads.ts'

/** Why an upload can't be one of any store, if so: earlier versions recorded what they were told. */
export function refusalOf(upload: Upload): MlflowError | undefined {
  try {
    checkUpload(upload)
    return undefined
  } catch (reason) {
    return toMlflowError(reason)
  }
}
