"""A gRPC client generated from proto/: the argument is HOST:PORT of the public port (HTTP/2 without TLS). Prints "done"."""

import math
import sys

import grpc
from millrace.artifacts.v1 import run_artifacts_pb2, run_artifacts_pb2_grpc, store_pb2, store_pb2_grpc
from millrace.errors.v1 import errors_pb2
from millrace.jobs.v1 import garbage_collection_pb2 as gc_pb2
from millrace.jobs.v1 import garbage_collection_pb2_grpc as gc_pb2_grpc
from millrace.server.v1 import server_info_pb2, server_info_pb2_grpc
from millrace.tracking.v1 import experiments_pb2 as e
from millrace.tracking.v1 import experiments_pb2_grpc, metrics_pb2_grpc, runs_pb2_grpc
from millrace.tracking.v1 import metrics_pb2 as m
from millrace.tracking.v1 import runs_pb2 as r

TIMEOUT_S = 20


def refused(call, request, status, code):
    try:
        call(request, timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        assert error.code() == status, (error.code(), error.details())
        assert "at /" not in error.details() and "node:" not in error.details(), error.details()
        if code:
            packed = dict(error.trailing_metadata())["grpc-status-details-bin"]
            assert code.encode() in packed and errors_pb2.ErrorDetail.DESCRIPTOR.full_name.encode() in packed, packed
        return
    raise AssertionError(f"not refused: {request}")


def main(address):
    with grpc.insecure_channel(address) as channel:
        experiments = experiments_pb2_grpc.ExperimentServiceStub(channel)
        runs = runs_pb2_grpc.RunServiceStub(channel)
        metrics = metrics_pb2_grpc.MetricServiceStub(channel)
        experiment_id = experiments.CreateExperiment(
            e.CreateExperimentRequest(name="grpc", tags=[e.ExperimentTag(key="k", value="v")]), timeout=TIMEOUT_S
        ).experiment_id
        got = experiments.GetExperimentByName(e.GetExperimentByNameRequest(experiment_name="grpc"), timeout=TIMEOUT_S).experiment
        assert got.experiment_id == experiment_id and got.tags[0].value == "v"

        run = runs.CreateRun(r.CreateRunRequest(experiment_id=experiment_id, run_name="first", start_time=2**40), timeout=TIMEOUT_S).run
        run_id = run.info.run_id
        assert run.info.status == r.RUN_STATUS_RUNNING and run.info.start_time == 2**40
        for step in range(20):
            point = m.LogMetricRequest(run_id=run_id, key="loss", value=1 / (step + 1), timestamp=2**41 + step, step=step)
            metrics.LogMetric(point, timeout=TIMEOUT_S)
        runs.LogBatch(
            r.LogBatchRequest(
                run_id=run_id,
                metrics=[m.Metric(key="odd", value=v, timestamp=i, step=i) for i, v in enumerate((math.inf, -math.inf, math.nan))],
                params=[r.Param(key="p", value="日本")],
                tags=[r.RunTag(key="t", value="")],
            ),
            timeout=TIMEOUT_S,
        )
        runs.LogParam(r.LogParamRequest(run_id=run_id, key="q", value="1"), timeout=TIMEOUT_S)
        got = runs.GetRun(r.GetRunRequest(run_id=run_id), timeout=TIMEOUT_S).run
        values = {x.key: x.value for x in got.data.metrics}
        assert values["loss"] == 1 / 20 and math.isnan(values["odd"]), values
        assert {p.key: p.value for p in got.data.params} == {"p": "日本", "q": "1"}
        runs.UpdateRun(r.UpdateRunRequest(run_id=run_id, status=r.RUN_STATUS_FINISHED, end_time=2**42), timeout=TIMEOUT_S)
        history = metrics.GetMetricHistory(m.GetMetricHistoryRequest(run_id=run_id, metric_key="loss"), timeout=TIMEOUT_S).metrics
        assert [(x.step, x.timestamp) for x in history] == [(s, 2**41 + s) for s in range(20)]

        made = [run_id]
        for i in range(9):
            request = r.CreateRunRequest(experiment_id=experiment_id, run_name=f"run {i}", start_time=2**40 + i + 1)
            made.append(runs.CreateRun(request, timeout=TIMEOUT_S).run.info.run_id)
        seen, token = [], ""
        while True:
            page = runs.SearchRuns(
                r.SearchRunsRequest(experiment_ids=[experiment_id], max_results=4, order_by=["attributes.start_time ASC"], page_token=token),
                timeout=TIMEOUT_S,
            )
            seen += [x.info.run_id for x in page.runs]
            token = page.next_page_token
            if not token:
                break
        assert seen == made, (seen, made)
        found = runs.SearchRuns(
            r.SearchRunsRequest(experiment_ids=[experiment_id], filter="params.p = '日本' and metrics.loss < 0.5"), timeout=TIMEOUT_S
        ).runs
        assert [x.info.run_id for x in found] == [run_id]

        refused(runs.GetRun, r.GetRunRequest(run_id="0" * 32), grpc.StatusCode.NOT_FOUND, "RESOURCE_DOES_NOT_EXIST")
        refused(experiments.CreateExperiment, e.CreateExperimentRequest(), grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMETER_VALUE")
        refused(experiments.CreateExperiment, e.CreateExperimentRequest(name="grpc"), grpc.StatusCode.ALREADY_EXISTS, "RESOURCE_ALREADY_EXISTS")
        bad = r.SearchRunsRequest(experiment_ids=[experiment_id], filter="nonsense")
        refused(runs.SearchRuns, bad, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMETER_VALUE")
        bad = m.LogMetricRequest(run_id=run_id, key="x" * 300, value=1, timestamp=1)
        refused(metrics.LogMetric, bad, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMETER_VALUE")
        internal = store_pb2_grpc.ArtifactStoreServiceStub(channel).List
        refused(internal, store_pb2.ListRequest(uri="file:///etc"), grpc.StatusCode.UNIMPLEMENTED, None)

        artifacts = run_artifacts_pb2_grpc.RunArtifactServiceStub(channel)
        listed = artifacts.ListRunArtifacts(run_artifacts_pb2.ListRunArtifactsRequest(run_id=run_id), timeout=TIMEOUT_S)
        assert listed.root_uri.endswith(f"{run_id}/artifacts") and len(listed.files) == 0
        info = server_info_pb2_grpc.ServerInfoServiceStub(channel).GetServerInfo(server_info_pb2.GetServerInfoRequest(), timeout=TIMEOUT_S)
        assert info.store_type == "SqlStore"

        runs.DeleteRun(r.DeleteRunRequest(run_id=run_id), timeout=TIMEOUT_S)
        jobs = gc_pb2_grpc.GarbageCollectionServiceStub(channel)
        job = jobs.StartGarbageCollection(gc_pb2.StartGarbageCollectionRequest(run_ids=[run_id]), timeout=TIMEOUT_S).job
        news = list(jobs.WatchGarbageCollection(gc_pb2.WatchGarbageCollectionRequest(job_id=job.job_id), timeout=TIMEOUT_S))
        assert [n.item.id for n in news if n.HasField("item")] == [run_id], news
        assert news[-1].job.state == gc_pb2.JOB_STATE_SUCCEEDED
        refused(runs.GetRun, r.GetRunRequest(run_id=run_id), grpc.StatusCode.NOT_FOUND, "RESOURCE_DOES_NOT_EXIST")
    print("done")


main(sys.argv[1])
