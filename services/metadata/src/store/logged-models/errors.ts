import { badRequest, doesNotExist, type MlflowError } from '@millrace/kit/errors'
import { shorten } from '@millrace/kit/shown'

/** What MLflow's store finds when a request names the model. */
export const loggedModelAbsent = (modelId: string): MlflowError => doesNotExist(`Logged model with ID '${shorten(modelId)}' not found.`)

/** In MLflow a metric of a model that is absent breaks a foreign key, which is BAD_REQUEST. */
export const metricOfAbsentLoggedModel = (modelId: string): MlflowError =>
  badRequest(`There is no logged model with id '${shorten(modelId)}' to log a metric to`)
