"""What a user of mlflow does with logged models, from the first one to deletion: a part of session.py."""

from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus
from mlflow.exceptions import MlflowException

client = MlflowClient()


def refused(call, *args, code):
    try:
        call(*args)
    except MlflowException as error:
        assert error.error_code == code, (error.error_code, code, str(error))
        return
    raise AssertionError(f"{call.__name__} was not refused")


def logged_models(name):
    """Answers the ids of a deleted model and of one that stays, both with artifacts."""
    experiment_id = client.create_experiment(name)
    models = []
    with mlflow.start_run(experiment_id=experiment_id):
        for i in range(6):
            model = mlflow.create_external_model(
                f"model-{i}", model_type="even" if i % 2 == 0 else "odd", params={f"p{j}": str(i) for j in range(150)}
            )
            assert len(model.params) == 150 and model.status == LoggedModelStatus.READY
            if i != 3:
                mlflow.log_metric("acc", i / 10, step=0, model_id=model.model_id)
                mlflow.log_metric("acc", 1 - i / 10, step=1, model_id=model.model_id)
            models.append(model)
    changes(models[0].model_id)
    searches(experiment_id)

    kept, gone = models[0].model_id, models[5].model_id
    local = Path(mlflow.artifacts.download_artifacts(f"models:/{kept}"))
    assert kept in (local / "MLmodel").read_text()
    client.delete_logged_model(gone)
    refused(client.get_logged_model, gone, code="RESOURCE_DOES_NOT_EXIST")
    refused(client.delete_logged_model, "m-nope", code="RESOURCE_DOES_NOT_EXIST")
    assert "model-5" not in found(experiment_id)
    return gone, kept


def changes(model_id):
    mlflow.set_logged_model_tags(model_id, {"stage": "dev", "größe/ü": "1", "n": 5})
    mlflow.set_logged_model_tags(model_id, {"stage": "prod"})
    mlflow.delete_logged_model_tag(model_id, "n")
    refused(mlflow.delete_logged_model_tag, model_id, "n", code="RESOURCE_DOES_NOT_EXIST")
    tags = mlflow.get_logged_model(model_id).tags
    assert tags["stage"] == "prod" and tags["größe/ü"] == "1" and "n" not in tags, tags
    mlflow.log_model_params({"lr": "0.1", "depth": "4"}, model_id)
    client.log_model_params(model_id, {"seed": "1"})
    refused(client.log_model_params, model_id, {"extra": "1", "seed": "2"}, code="BAD_REQUEST")
    params = mlflow.get_logged_model(model_id).params
    assert (params["lr"], params["depth"], params["seed"], "extra" in params) == ("0.1", "4", "1", False)


def found(experiment_id, filter_string=None, order_by=None, **kwargs):
    models = mlflow.search_logged_models([experiment_id], filter_string, order_by=order_by, output_format="list", **kwargs)
    return [model.name for model in models]


def searches(experiment_id):
    names = [f"model-{i}" for i in range(6)]
    best = [{"field_name": "metrics.acc", "ascending": False}]
    assert found(experiment_id) == names[::-1]
    assert found(experiment_id, order_by=best) == [names[i] for i in (0, 1, 2, 4, 5, 3)]
    assert found(experiment_id, "metrics.acc >= 0.7 AND model_type = 'even'", best) == ["model-0", "model-2"]
    assert found(experiment_id, "metrics.acc = 0.4") == ["model-4"]
    assert found(experiment_id, "tags.stage = 'prod' AND params.lr LIKE '0%'") == ["model-0"]
    assert found(experiment_id, "name IN ('model-1', 'model-3')", [{"field_name": "name"}]) == ["model-1", "model-3"]
    assert found(experiment_id, datasets=[{"dataset_name": "none", "dataset_digest": "1"}]) == []
    frame = mlflow.search_logged_models([experiment_id], "params.p7 = '4'")
    assert list(frame["name"]) == ["model-4"]
    pages, token = [], None
    while True:
        page = client.search_logged_models([experiment_id], order_by=best, max_results=4, page_token=token)
        pages.append([model.name for model in page])
        token = page.token
        if not token:
            break
    assert pages == [[names[i] for i in (0, 1, 2, 4)], [names[i] for i in (5, 3)]], pages
    refused(client.search_logged_models, [experiment_id], "metric.acc > 1", code="INVALID_PARAMETER_VALUE")
