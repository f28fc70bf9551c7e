"""A file goes up and down through a server that has no room at first: argv is the file."""

import os
import sys

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

repository = get_artifact_repository("mlflow-artifacts:/busy", tracking_uri=os.environ["MLFLOW_TRACKING_URI"])
repository.log_artifact(sys.argv[1], "d")
with open(sys.argv[1], "rb") as sent, open(repository.download_artifacts("d/" + os.path.basename(sys.argv[1])), "rb") as got:
    assert sent.read() == got.read()
print("done")
