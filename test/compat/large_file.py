"""Logs 12 MB through a tracking server, fetches them again, and tells how many parts were sent."""

import json
import os
import pathlib
import tempfile
import sys

import mlflow
import requests

sent = []
plain = requests.Session.request


def watch(self, method, url, *args, **kwargs):
    sent.append((method, url))
    return plain(self, method, url, *args, **kwargs)


requests.Session.request = watch

mlflow.set_tracking_uri(sys.argv[1] if len(sys.argv) > 1 else os.environ["MLFLOW_TRACKING_URI"])
content = os.urandom(12_000_000)
with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "large.bin")
    path.write_bytes(content)
    with mlflow.start_run() as run:
        mlflow.log_artifact(str(path))
    found = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="large.bin")
    assert pathlib.Path(found).read_bytes() == content
print(json.dumps({"parts": sum(1 for method, url in sent if "/mpu/part/" in url)}))
