"""One store behind the server, used by the unmodified client: argv is the URI of the artifacts destination.

Files are written through the proxy; the experiment of `direct` names the same place by the store's own URI, so that the server's
list and download routes reach it without the proxy.
"""

import json
import os
import sys
import tempfile

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

destination = sys.argv[1].rstrip("/")
server = os.environ["MLFLOW_TRACKING_URI"]
client = MlflowClient()
files = {"top.txt": b"top", "d/in.json": b"{}", "d/e/deep name.bin": bytes(range(256)) * 4096, "d/empty": b""}


def log_all(run_id, path=None):
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            file = os.path.join(folder, name)
            os.makedirs(os.path.dirname(file), exist_ok=True)
            with open(file, "wb") as out:
                out.write(content)
        client.log_artifacts(run_id, folder, path)


def downloaded(run_id, path):
    with tempfile.TemporaryDirectory() as folder:
        with open(client.download_artifacts(run_id, path, folder), "rb") as file:
            return file.read()


def check_deletion(run):
    run_id = run.info.run_id
    repository = get_artifact_repository(run.info.artifact_uri)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "one file.txt")
        with open(file, "wb") as out:
            out.write(b"one")
        client.log_artifact(run_id, file)
        client.log_artifact(run_id, file, "gone/below")
    assert downloaded(run_id, "gone/below/one file.txt") == b"one"
    for path in ["one file.txt", "gone", "gone", "never/there"]:
        repository.delete_artifacts(path)
    # SeaweedFS goes on listing folders for a while after the last object in them is gone, so only files count.
    assert "one file.txt" not in [f.path for f in client.list_artifacts(run_id)]
    assert [f.path for f in client.list_artifacts(run_id, "gone/below")] == []
    assert downloaded(run_id, "d/in.json") == files["d/in.json"]


def check_proxied(experiment_id):
    run = client.create_run(experiment_id)
    run_id = run.info.run_id
    assert run.info.artifact_uri.startswith("mlflow-artifacts:"), run.info.artifact_uri
    log_all(run_id)
    log_all(run_id, "again")
    assert [f.path for f in client.list_artifacts(run_id)] == ["again", "d", "top.txt"]
    assert [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run_id, "d")] == [
        ("d/e", True, None),
        ("d/empty", False, None),
        ("d/in.json", False, 2),
    ]
    for name, content in files.items():
        assert downloaded(run_id, name) == content, name
    with tempfile.TemporaryDirectory() as folder:
        root = mlflow.artifacts.download_artifacts(run_id=run_id, dst_path=folder)
        for name, content in files.items():
            with open(os.path.join(root, "again", name), "rb") as file:
                assert file.read() == content, name
    client.log_text(run_id, "second", "top.txt")
    assert downloaded(run_id, "top.txt") == b"second"
    check_deletion(run)
    try:
        downloaded(run_id, "absent.txt")
        raise AssertionError("an absent artifact was downloaded")
    except Exception as error:
        assert "absent.txt" in str(error) or "404" in str(error), error
    return run_id


def check_direct(experiment_id, place):
    run = client.create_run(experiment_id)
    run_id = run.info.run_id
    # Joining drops an empty host, as MLflow's own server does.
    assert run.info.artifact_uri.startswith(destination.replace(":///", ":/")), run.info.artifact_uri
    for name, content in files.items():
        path = requests.utils.quote(f"{place}/{run_id}/artifacts/{name}")
        put = requests.put(f"{server}/api/2.0/mlflow-artifacts/artifacts/{path}", data=content, timeout=60)
        assert put.status_code == 200, put.text
    listed = requests.get(f"{server}/api/2.0/mlflow/artifacts/list", {"run_id": run_id, "path": "d"}, timeout=60).json()
    assert [f["path"] for f in listed["files"]] == ["d/e", "d/empty", "d/in.json"], listed
    for name, content in files.items():
        got = requests.get(f"{server}/get-artifact", {"run_uuid": run_id, "path": name}, timeout=60)
        assert (got.status_code, got.content) == (200, content), (name, got.status_code)
    return run_id


if "BY_DEFAULT" in os.environ:
    runs = [check_direct("0", "by-default/0")]
else:
    runs = [
        check_proxied(client.create_experiment("proxied")),
        check_proxied(client.create_experiment("located", artifact_location="mlflow-artifacts:/some/where else")),
        check_direct(client.create_experiment("direct", artifact_location=f"{destination}/direct"), "direct"),
    ]
for run_id in runs:
    client.delete_run(run_id)
print(json.dumps(runs))
