"""`write` fills a server with experiments, runs, histories, inputs and artifacts, `append` goes on with them;
`snapshot` prints all that clients can read.

Two servers over the same database and artifact store must print the same snapshot.
"""

import hashlib
import json
import math
import sys
import tempfile
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType

client = MlflowClient()


def write():
    names = ["rivers", "größe 日本", "with/slash", "gone"]
    ids = [client.create_experiment(n, tags={"i": str(i), "note": "née"} if i else None) for i, n in enumerate(names)]
    client.rename_experiment(ids[2], "renamed")
    for i, experiment_id in enumerate(ids):
        for j in range(6):
            run = client.create_run(experiment_id, start_time=1_700_000_000_000 + 10 * j, run_name=f"run-{i}-{j}", tags={"j": str(j)})
            fill(run.info.run_id, i, j)
    models(ids[0], client.search_runs([ids[0]], "tags.j = '0'")[0].info.run_id)
    client.delete_run(client.search_runs([ids[0]], "tags.j = '5'")[0].info.run_id)
    client.delete_experiment(ids[3])
    client.delete_experiment_tag(ids[1], "note")


def append():
    """Goes on with what another server wrote."""
    experiment_id = client.get_experiment_by_name("rivers").experiment_id
    deleted = client.search_runs([experiment_id], "", ViewType.DELETED_ONLY)[0]
    client.restore_run(deleted.info.run_id)
    for run in client.search_runs([experiment_id]):
        client.log_batch(run.info.run_id, [Metric("loss", 9.0, 1_800_000_000_000, 500), Metric("new", 1.0, 1, 0)], [Param("new", "p")])
        client.set_tag(run.info.run_id, "swap", "z")
        client.log_text(run.info.run_id, "more", "notes/more.txt")
    first, *_, last = client.search_logged_models([experiment_id])
    client.set_logged_model_tags(first.model_id, {"k": "changed", "new": "ü"})
    client.delete_logged_model_tag(first.model_id, "née")
    client.log_model_params(first.model_id, {"more": "1"})
    client.delete_logged_model(last.model_id)
    client.restore_experiment(client.get_experiment_by_name("gone").experiment_id)
    other = client.create_experiment("other")
    fill(client.create_run(other, run_name="late", tags={"j": "0"}, start_time=5).info.run_id, 9, 0)


def models(experiment_id, run_id):
    for i in range(6):
        tags = {"k": str(i), "née": "x"}
        model = client.create_logged_model(experiment_id, f"model-{i}", run_id, tags, {"p": str(i % 2)}, "kind").model_id
        if i % 2:
            client.finalize_logged_model(model, "READY")
        for step in range(i % 4):
            data = {"dataset_name": f"ds-{step % 2}", "dataset_digest": "1"}
            client.log_metric(run_id, f"quality-{step % 2}", (i + 1) / (step + 1), 1_700_000_000_000 + i, step, model_id=model, **data)
    client.delete_logged_model(model)


def fill(run_id, i, j):
    t = 1_700_000_000_000
    odd = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-308, 1.7e308, 1 / 3, 2**53 + 2.0]
    metrics = [Metric("loss", 1 / (s + 1 + j), t + s, s) for s in range(120)]
    metrics += [Metric("odd", v, t + n, n) for n, v in enumerate(odd)]
    metrics += [Metric("same step", float(n), t - n, 7) for n in range(5)] + [Metric("back", 1.0, t, 5), Metric("back", 2.0, t + 9, -5)]
    metrics += [Metric("last/nan", math.nan, t, 1), Metric("last/inf", math.inf, t, 1)]
    params = [Param("lr", str(j / 10)), Param("ключ", "значение"), Param("long", "v" * 6000), Param("quote : -./x", "a'b\"c`d%_\\")]
    client.log_batch(run_id, metrics, params, [RunTag("multi line", "a\nb"), RunTag("empty", ""), RunTag("swap", "x")])
    client.set_tag(run_id, "swap", "y")
    client.log_metric(run_id, "acc", j / 6, timestamp=t, step=0)
    source = json.dumps({"uri": f"s3://data/{i}"})
    for k in range(2):
        dataset = Dataset(f"ds-{k}", f"digest{i}{k}", "local", source, schema='{"s": 1}', profile='{"rows": 4}' if k else None)
        client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "train"), InputTag("k", str(k))])])
    if j == 0:
        client.log_text(run_id, f"text of {i}", "notes/ü.txt")
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "blob.bin").write_bytes(bytes([i]) * 300_000)
            (Path(folder) / "empty").write_bytes(b"")
            client.log_artifacts(run_id, folder, "files")
    if j % 2:
        client.set_terminated(run_id, ["FINISHED", "FAILED", "KILLED"][j // 2], end_time=1_700_000_100_000 + j)


def number(value):
    return repr(float(value))


def run_view(run):
    info = run.info
    keys = ("run_id", "experiment_id", "run_name", "user_id", "status", "start_time", "end_time", "lifecycle_stage", "artifact_uri")
    inputs = [
        [i.dataset.name, i.dataset.digest, i.dataset.source_type, i.dataset.source, i.dataset.schema, i.dataset.profile, sorted((t.key, t.value) for t in i.tags)]
        for i in run.inputs.dataset_inputs
    ]
    return {
        **{k: getattr(info, k) for k in keys},
        "metrics": {k: number(v) for k, v in sorted(run.data.metrics.items())},
        "params": dict(sorted(run.data.params.items())),
        "tags": dict(sorted(run.data.tags.items())),
        "inputs": sorted(inputs, key=str),
    }


def model_view(model):
    keys = ("model_id", "experiment_id", "name", "artifact_location", "creation_timestamp", "last_updated_timestamp", "model_type", "source_run_id")
    points = [[m.key, number(m.value), m.timestamp, m.step, m.run_id, m.dataset_name, m.dataset_digest] for m in model.metrics or []]
    pairs = {"tags": dict(sorted(model.tags.items())), "params": dict(sorted(model.params.items()))}
    return {**{k: getattr(model, k) for k in keys}, **pairs, "status": str(model.status), "metrics": sorted(points)}


def model_pages(ids):
    best = {"field_name": "metrics.quality-0", "ascending": False}
    searches = [
        (None, None, None), ("metrics.`quality-0` > 1", [best], None), (None, [{**best, "dataset_name": "ds-0"}, {"field_name": "name"}], None),
        ("params.p = '1' AND tags.k IN ('1', '3', 'changed')", [{"field_name": "name"}], None), ("metrics.`quality-1` < 2", None, None),
        ("name ILIKE 'MODEL-%' AND creation_time > 5", None, [{"dataset_name": "ds-1", "dataset_digest": "1"}]),
    ]
    results = {}
    for text, order_by, datasets in searches:
        pages, token = [], None
        while True:
            page = client.search_logged_models(ids, text, datasets, 2, order_by, token)
            pages.append([model_view(m) for m in page])
            token = page.token
            if not token:
                break
        results[f"{text} | {order_by} | {datasets}"] = pages
    return results


def files(run_id, path=None):
    found = {}
    for entry in client.list_artifacts(run_id, path):
        if entry.is_dir:
            found.update(files(run_id, entry.path))
        else:
            local = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=entry.path, dst_path=tempfile.mkdtemp())
            found[entry.path] = [entry.file_size, hashlib.sha256(Path(local).read_bytes()).hexdigest()]
    return found


def snapshot():
    every = client.search_experiments(view_type=ViewType.ALL, order_by=["experiment_id ASC"])
    ids = [e.experiment_id for e in every]
    keys = ("experiment_id", "name", "artifact_location", "lifecycle_stage", "creation_time", "last_update_time")
    searches = [
        ("", ["attributes.start_time DESC"]), ("", []), ("metrics.acc > 0.4", ["metrics.acc DESC"]), ("params.lr = '0.2'", []),
        ("params.`ключ` = 'значение' AND tags.j != '1'", ["params.lr DESC"]), ("tags.`multi line` LIKE 'a%'", ["tags.j ASC"]),
        ("attributes.status = 'KILLED'", []), ("dataset.name = 'ds-1' and dataset.context = 'train'", []), ("metrics.odd >= 0", []),
        ("attributes.run_name ILIKE 'RUN-1-%'", []), ("attributes.end_time > 1700000100001", []), ("", ["metrics.`last/nan` ASC"]), ("", ["metrics.odd DESC", "tags.j DESC"]),
    ]
    results = {}
    for text, order_by in searches:
        for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY, ViewType.ALL):
            pages, token = [], None
            while True:
                page = client.search_runs(ids, text, view, 7, order_by, token)
                pages.append([r.info.run_id for r in page])
                token = page.token
                if not token:
                    break
            results[f"{text} | {order_by} | {view}"] = pages
    runs = client.search_runs(ids, "", ViewType.ALL, 1000)
    histories = {}
    for run in runs:
        for key in run.data.metrics:
            points = [[m.step, m.timestamp, number(m.value)] for m in client.get_metric_history(run.info.run_id, key)]
            histories[f"{run.info.run_id} {key}"] = points
    out = {
        "experiments": [{**{k: getattr(e, k) for k in keys}, "tags": dict(sorted(e.tags.items()))} for e in every],
        "by_tag": [e.name for e in client.search_experiments(ViewType.ALL, filter_string="tags.i LIKE '%'", order_by=["name DESC"])],
        "runs": {r.info.run_id: run_view(r) for r in runs},
        "single": {r.info.run_id: run_view(client.get_run(r.info.run_id)) for r in runs},
        "searches": results,
        "models": model_pages(ids),
        "histories": histories,
        "files": {r.info.run_id: files(r.info.run_id) for r in runs if r.data.tags["j"] == "0"},
    }
    print(json.dumps(out, sort_keys=True))


{"write": write, "append": append, "snapshot": snapshot}[sys.argv[1]]()
