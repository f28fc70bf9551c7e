"""A file above the multipart limits goes up in parts and comes down by presigned ranges, straight to and from S3.

The environment sets MLflow's multipart switches and sizes; S3_ENDPOINT names the store. Prints what was sent where.
"""

import collections
import hashlib
import json
import os
import tempfile
import urllib.parse
from pathlib import Path

import mlflow
import requests
from mlflow import MlflowClient

store = urllib.parse.urlparse(os.environ["S3_ENDPOINT"]).netloc
calls = collections.Counter()
send = requests.Session.send


def counted(self, request, **kwargs):
    host = "store" if urllib.parse.urlparse(request.url).netloc == store else "server"
    calls[f"{request.method} {host}"] += 1
    return send(self, request, **kwargs)


requests.Session.send = counted
client = MlflowClient()
experiment_id = client.create_experiment("multipart-" + os.urandom(4).hex())
run_id = client.create_run(experiment_id).info.run_id
content = os.urandom(17 * 1024 * 1024 + 5)
with tempfile.TemporaryDirectory() as folder:
    big = Path(folder) / "big ü.bin"
    big.write_bytes(content)
    client.log_artifact(run_id, str(big), "models")
    up = dict(calls)
    calls.clear()
    down = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="models/big ü.bin", dst_path=folder + "/down")
    assert hashlib.sha256(Path(down).read_bytes()).digest() == hashlib.sha256(content).digest()
    assert [f.file_size for f in client.list_artifacts(run_id, "models")] == [len(content)]
    small = Path(folder) / "small.txt"
    small.write_text("through the proxy")
    client.log_artifact(run_id, str(small))
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/small.txt") == "through the proxy"
print(json.dumps({"up": up, "down": dict(calls)}))
