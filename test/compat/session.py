"""What a user of mlflow does from the first log call to deletion. MLFLOW_TRACKING_URI names the server.

Prints one JSON line with what the caller needs to see the deleted run vanish.
"""

import json
import math
import os
import sys
import tempfile
import time
import uuid
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from logged_models import logged_models
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException, RestException
from mlflow.utils import name_utils

nonce = uuid.uuid4().hex[:8]
name = f"session-{nonce}"
client = MlflowClient()


def refused(call, *args, code, **kwargs):
    try:
        call(*args, **kwargs)
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, code, str(error))
        return error
    raise AssertionError(f"{call.__name__} was not refused")


def experiments():
    experiment = mlflow.set_experiment(name)
    assert mlflow.set_experiment(name).experiment_id == experiment.experiment_id
    assert mlflow.get_experiment_by_name(name).lifecycle_stage == "active"
    refused(client.create_experiment, name, code="RESOURCE_ALREADY_EXISTS")
    mlflow.set_experiment_tag("team", "rivers")
    client.set_experiment_tag(experiment.experiment_id, "gone", "x")
    client.delete_experiment_tag(experiment.experiment_id, "gone")
    assert client.get_experiment(experiment.experiment_id).tags["team"] == "rivers"
    assert "gone" not in client.get_experiment(experiment.experiment_id).tags
    made = [client.create_experiment(f"{name}-{i}", tags={"index": str(i), "nonce": nonce}) for i in range(7)]
    pages, token = [], None
    while True:
        page = client.search_experiments(
            filter_string=f"tags.nonce = '{nonce}'", order_by=["name DESC"], max_results=3, page_token=token
        )
        pages.append([e.name for e in page])
        token = page.token
        if not token:
            break
    assert pages == [[f"{name}-{i}" for i in r] for r in ((6, 5, 4), (3, 2, 1), (0,))], pages
    assert len(client.search_experiments(filter_string=f"name LIKE '{name}-%'")) == 7
    assert len(mlflow.search_experiments(filter_string=f"name ILIKE '{name.upper()}-%' AND tags.index = '3'")) == 1
    client.rename_experiment(made[0], f"{name}-renamed")
    assert client.get_experiment(made[0]).name == f"{name}-renamed"
    client.delete_experiment(made[1])
    assert client.get_experiment(made[1]).lifecycle_stage == "deleted"
    found = client.search_experiments(view_type=ViewType.DELETED_ONLY, filter_string=f"tags.nonce = '{nonce}'")
    assert [e.experiment_id for e in found] == [made[1]]
    client.restore_experiment(made[1])
    client.delete_experiment(made[2])
    refused(client.get_experiment, "99999999", code="RESOURCE_DOES_NOT_EXIST")
    for _ in range(20):
        unnamed = client.create_run(made[0]).info.run_name
        assert unnamed.split("-")[0] in name_utils._GENERATOR_PREDICATES, unnamed
    return experiment.experiment_id, made[2]


def fluent_run(folder):
    with mlflow.start_run(run_name="main", description="a run", tags={"kind": "parent"}) as run:
        mlflow.log_param("depth", 4)
        mlflow.log_params({"rate": 0.1, "größe/ü": "naïve 日本", "long": "x" * 6000})
        refused(mlflow.log_param, "depth", 5, code="INVALID_PARAMETER_VALUE")
        mlflow.log_param("depth", 4)
        mlflow.log_metric("loss", 1.5)
        for step in range(10):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_metrics({"acc": 0.5, "nan": math.nan, "inf": math.inf, "-inf": -math.inf, "huge": 1e300}, step=3)
        mlflow.set_tags({"a": "1", "b": "2"})
        mlflow.set_tag("unicode", "✓ 日本")
        mlflow.delete_tag("b")
        frame = pd.DataFrame({"x": np.arange(4), "y": np.arange(4) * 0.5})
        dataset = mlflow.data.from_pandas(frame, source=str(folder / "rivers.csv"), name=f"rivers-{nonce}", targets="y")
        mlflow.log_input(dataset, context="training", tags={"split": "a"})
        mlflow.log_input(dataset, context="training")
        artifacts(folder)
        with mlflow.start_run(run_name="child", nested=True) as child:
            mlflow.log_metric("acc", 0.9)
    got = mlflow.get_run(run.info.run_id)
    assert got.info.status == "FINISHED" and got.info.run_name == "main" and got.info.end_time >= got.info.start_time
    assert got.data.params == {"depth": "4", "rate": "0.1", "größe/ü": "naïve 日本", "long": "x" * 6000}
    assert got.data.metrics["loss"] == 0.1 and got.data.metrics["acc"] == 0.5 and got.data.metrics["huge"] == 1e300
    assert math.isnan(got.data.metrics["nan"]) and got.data.metrics["inf"] > 1e308 and got.data.metrics["-inf"] < -1e308
    assert got.data.tags["unicode"] == "✓ 日本" and got.data.tags["a"] == "1" and "b" not in got.data.tags
    assert got.data.tags["mlflow.note.content"] == "a run"
    (entry,) = got.inputs.dataset_inputs
    assert entry.dataset.name == f"rivers-{nonce}" and entry.dataset.source_type == "local"
    assert {t.key: t.value for t in entry.tags}["mlflow.data.context"] == "training"
    assert json.loads(entry.dataset.profile)["num_rows"] == 4
    assert mlflow.get_run(child.info.run_id).data.tags["mlflow.parentRunId"] == run.info.run_id
    history = client.get_metric_history(run.info.run_id, "loss")
    assert sorted((m.step, m.value) for m in history) == sorted([(0, 1.5)] + [(s, 1 / (s + 1)) for s in range(10)])
    assert mlflow.last_active_run().info.run_id in (run.info.run_id, child.info.run_id)
    return run.info.run_id


def artifacts(folder):
    tree = folder / "tree"
    (tree / "sub" / "deep").mkdir(parents=True)
    files = {
        "a.txt": b"hello",
        "empty": b"",
        "sp ace+é.txt": b"odd",
        "日本.txt": "日本".encode(),
        "sub/b.bin": bytes(range(256)) * 4096,
        "sub/deep/c.json": b'{"c": 1}',
    }
    for path, content in files.items():
        (tree / path).write_bytes(content)
    mlflow.log_artifacts(str(tree), "tree")
    mlflow.log_artifact(str(tree / "a.txt"))
    mlflow.log_text("some text", "notes/text.txt")
    mlflow.log_dict({"k": [1, 2]}, "notes/data.json")
    run_id = mlflow.active_run().info.run_id
    listed = {f.path: (f.is_dir, f.file_size) for f in client.list_artifacts(run_id)}
    assert listed == {"a.txt": (False, 5), "notes": (True, None), "tree": (True, None)}, listed
    assert [f.path for f in client.list_artifacts(run_id, "tree/sub")] == ["tree/sub/b.bin", "tree/sub/deep"]
    assert client.list_artifacts(run_id, "tree/a.txt") == [] and client.list_artifacts(run_id, "nope") == []
    local = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="tree", dst_path=str(folder / "down")))
    assert {p.relative_to(local).as_posix(): p.read_bytes() for p in local.rglob("*") if p.is_file()} == files
    assert mlflow.artifacts.load_text(f"runs:/{run_id}/notes/text.txt") == "some text"
    assert mlflow.artifacts.load_dict(f"runs:/{run_id}/notes/data.json") == {"k": [1, 2]}
    refused_download = False
    try:
        mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="nope.txt")
    except Exception:
        refused_download = True
    assert refused_download


def batches(experiment_id):
    run = client.create_run(experiment_id, start_time=1, tags={"kind": "batch"}, run_name="batch")
    run_id = run.info.run_id
    assert run.info.status == "RUNNING" and run.info.start_time == 1
    now = int(time.time() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric("m", i / 7, now + i, i) for i in range(1000)],
        params=[Param(f"p{i}", str(i)) for i in range(60)],
        tags=[RunTag(f"t{i}", str(i)) for i in range(60)],
    )
    for offset in range(1000, 4000, 1000):
        client.log_batch(run_id, metrics=[Metric("m", i / 7, now + i, i) for i in range(offset, offset + 1000)])
    refused(client.log_batch, run_id, params=[Param("p1", "other")], code="INVALID_PARAMETER_VALUE")
    client.log_metric(run_id, "sync", 1.0, timestamp=5, step=-3)
    client.log_metric(run_id, "async", 2.0, synchronous=False).wait()
    history = client.get_metric_history(run_id, "m")
    assert len(history) == 4000 and sorted(m.step for m in history) == list(range(4000))
    assert {m.step: (m.value, m.timestamp) for m in history}[3999] == (3999 / 7, now + 3999)
    got = client.get_run(run_id)
    assert got.data.metrics == {"m": 3999 / 7, "sync": 1.0, "async": 2.0}
    assert len(got.data.params) == 60 and got.data.tags["t59"] == "59"
    client.update_run(run_id, status="FAILED", name="renamed")
    client.set_terminated(run_id, "KILLED", end_time=99)
    got = client.get_run(run_id)
    assert (got.info.status, got.info.end_time, got.info.run_name) == ("KILLED", 99, "renamed"), got.info
    refused(client.get_run, "0" * 32, code="RESOURCE_DOES_NOT_EXIST")
    refused(client.log_metric, "0" * 32, "m", 1.0, code="RESOURCE_DOES_NOT_EXIST")
    return run_id


def searches():
    experiment_id = client.create_experiment(f"{name}-search")
    ids = []
    for i in range(25):
        run = client.create_run(experiment_id, start_time=1000 + i, tags={"parity": "even" if i % 2 == 0 else "odd"}, run_name=f"r{i:02d}")
        client.log_batch(run.info.run_id, metrics=[Metric("acc", i / 25, 1, 0)], params=[Param("lr", str(i % 5)), Param("Model", f"net-{i}")])
        if i % 3 == 0:
            client.set_terminated(run.info.run_id)
        ids.append(run.info.run_id)

    def found(filter_string, order_by=("attributes.start_time ASC",), **kwargs):
        return [ids.index(r.info.run_id) for r in client.search_runs([experiment_id], filter_string, order_by=list(order_by), **kwargs)]

    assert found("") == list(range(25))
    assert found("", order_by=()) == list(range(24, -1, -1))
    assert found("metrics.acc > 0.8") == [21, 22, 23, 24]
    assert found("metrics.acc >= 0.4 and params.lr = '1' AND tags.parity = 'even'") == [16]
    assert found("params.`Model` LIKE 'net-1%'") == [1, *range(10, 20)]
    assert found("params.Model ILIKE 'NET-2_'") == [20, 21, 22, 23, 24]
    assert found("attributes.status = 'FINISHED'") == list(range(0, 25, 3))
    assert found(f"attributes.run_id IN ('{ids[7]}', '{ids[3]}')") == [3, 7]
    assert found("attributes.run_name LIKE 'r0_'") == list(range(10))
    assert found(f"attributes.run_id = '{ids[9]}'") == [9]
    assert found("attributes.start_time > 1022") == [23, 24]
    assert found("tags.parity != 'even' and metrics.acc < 0.2") == [1, 3]
    assert found("", order_by=["metrics.acc DESC"])[:3] == [24, 23, 22]
    assert found("", order_by=["params.lr ASC", "metrics.acc DESC"])[:5] == [20, 15, 10, 5, 0]
    seen, token = [], None
    while True:
        page = client.search_runs([experiment_id], order_by=["metrics.acc DESC"], max_results=10, page_token=token)
        seen += [ids.index(r.info.run_id) for r in page]
        token = page.token
        if not token:
            break
    assert seen == list(range(24, -1, -1))
    client.delete_run(ids[0])
    assert found("", run_view_type=ViewType.DELETED_ONLY) == [0] and len(found("", run_view_type=ViewType.ALL)) == 25
    client.restore_run(ids[0])
    assert found("metrics.acc = 0.0") == [0]
    frame = mlflow.search_runs([experiment_id], "params.lr = '2'", order_by=["start_time"])
    assert list(frame["tags.mlflow.runName"]) == ["r02", "r07", "r12", "r17", "r22"]
    for bad in ("metrics.acc > 'x'", "nonsense", "params.lr > '1' OR params.lr = '2'", "attributes.nope = '1'"):
        refused(client.search_runs, [experiment_id], bad, code="INVALID_PARAMETER_VALUE")


def main():
    with tempfile.TemporaryDirectory() as folder:
        experiment_id, deleted_experiment = experiments()
        run_id = fluent_run(Path(folder))
        batches(experiment_id)
        searches()
        deleted_model, kept_model = logged_models(f"{name}-models")
        kept = client.create_run(experiment_id, run_name="kept")
        client.log_text(kept.info.run_id, "stays", "kept.txt")
    client.delete_run(run_id)
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"
    refused(client.log_metric, run_id, "m", 1.0, code="INVALID_PARAMETER_VALUE")
    client.restore_run(run_id)
    client.log_metric(run_id, "after", 1.0)
    client.delete_run(run_id)
    uri = client.get_run(run_id).info.artifact_uri
    deleted = {"run_id": run_id, "artifact_uri": uri, "experiment_id": deleted_experiment, "model_id": deleted_model}
    print(json.dumps({**deleted, "kept": kept.info.run_id, "kept_model": kept_model}))


main()
