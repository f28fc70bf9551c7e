"""A file above the multipart limits goes up in parts and comes down by presigned ranges, straight to and from the store.
It is named as compressed ones are, which stores tell and HTTP clients unpack.

The environment sets MLflow's multipart switches and sizes; S3_ENDPOINT names the store, TRANSFER_BYTES the file's size.
Prints what was sent where, and how long both took.
"""

import collections
import hashlib
import json
import os
import tempfile
import time
import urllib.parse
from pathlib import Path

import mlflow
import requests
from mlflow import MlflowClient

store = urllib.parse.urlparse(os.environ["S3_ENDPOINT"]).netloc
size = int(os.environ.get("TRANSFER_BYTES", 17 * 1024 * 1024 + 5))
calls = collections.Counter()
send = requests.Session.send


def counted(self, request, **kwargs):
    host = "store" if urllib.parse.urlparse(request.url).netloc == store else "server"
    calls[f"{request.method} {host}"] += 1
    return send(self, request, **kwargs)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


requests.Session.send = counted
client = MlflowClient()
experiment_id = client.create_experiment("multipart-" + os.urandom(4).hex())
run_id = client.create_run(experiment_id).info.run_id
with tempfile.TemporaryDirectory() as folder:
    big = Path(folder) / "big ü.tar.gz"
    with open(big, "wb") as file:
        for start in range(0, size, 1 << 24):
            file.write(os.urandom(min(1 << 24, size - start)))
    started = time.monotonic()
    client.log_artifact(run_id, str(big), "models")
    up_seconds = time.monotonic() - started
    up = dict(calls)
    calls.clear()
    started = time.monotonic()
    down = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="models/big ü.tar.gz", dst_path=folder + "/down")
    down_seconds = time.monotonic() - started
    assert sha256(down) == sha256(big)
    assert [f.file_size for f in client.list_artifacts(run_id, "models")] == [size]
    small = Path(folder) / "small.txt"
    small.write_text("through the proxy")
    client.log_artifact(run_id, str(small))
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/small.txt") == "through the proxy"
print(json.dumps({"up": up, "down": dict(calls), "up_seconds": up_seconds, "down_seconds": down_seconds}))
