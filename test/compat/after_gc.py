"""After gc: the deleted run and experiment are unknown, the kept run is whole. Arguments: run_id kept experiment_id."""

import sys

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

run_id, kept, experiment_id = sys.argv[1:]
client = MlflowClient()
for call, key in ((client.get_run, run_id), (client.get_experiment, experiment_id), (client.restore_run, run_id)):
    try:
        call(key)
    except MlflowException as error:
        assert error.error_code == "RESOURCE_DOES_NOT_EXIST", error
    else:
        raise AssertionError(f"{call.__name__}({key}) still answers")
assert mlflow.artifacts.load_text(f"runs:/{kept}/kept.txt") == "stays"
print("gone")
