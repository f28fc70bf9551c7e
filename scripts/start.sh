#!/bin/sh
# `npm start`: the all-in-one server with everything it keeps under ./data. Arguments are handed on and win.
set -eu
cd "$(dirname "$0")/.."
node scripts/generate.ts
mkdir -p data
MLFLOW_BACKEND_STORE_URI=${MLFLOW_BACKEND_STORE_URI:-sqlite:///data/mlflow.db}
MLFLOW_ARTIFACTS_DESTINATION=${MLFLOW_ARTIFACTS_DESTINATION:-./data/artifacts}
export MLFLOW_BACKEND_STORE_URI MLFLOW_ARTIFACTS_DESTINATION
exec services/server/bin/millrace server "$@"
