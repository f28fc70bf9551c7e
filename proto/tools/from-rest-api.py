#!/usr/bin/env python3
"""First draft of proto/ from the reference's rest-api.json. The result is owned and edited by hand afterwards.

usage: from-rest-api.py REST_API_JSON OUT_DIR
"""
import json, re, sys
from pathlib import Path

src, out = json.load(open(sys.argv[1])), Path(sys.argv[2])
M, E = src["messages"], src["enums"]
TRACK, ART = "mlflow.MlflowService", "mlflow.artifacts.MlflowArtifactsService"

# file -> (package, service, [(mlflow service, rpc, our rpc name)])
FILES = {
    "experiments": ("tracking", "ExperimentService", TRACK, [
        "createExperiment", "getExperiment", "getExperimentByName", "searchExperiments", "updateExperiment", "deleteExperiment",
        "restoreExperiment", "setExperimentTag", "deleteExperimentTag"]),
    "metrics": ("tracking", "MetricService", TRACK, ["logMetric", "getMetricHistory", "getMetricHistoryBulkInterval"]),
    "datasets": ("tracking", "DatasetService", TRACK, ["searchDatasets"]),
    "runs": ("tracking", "RunService", TRACK, [
        "createRun", "getRun", "searchRuns", "updateRun", "deleteRun", "restoreRun", "logParam", "setTag", "deleteTag", "logBatch",
        "logModel", "logInputs", "logOutputs"]),
    "logged_models": ("tracking", "LoggedModelService", TRACK, ["createLoggedModel", "getLoggedModel", "finalizeLoggedModel"]),
    "run_artifacts": ("artifacts", "RunArtifactService", TRACK, ["listArtifacts", "createPresignedUploadUrl", "createPresignedDownloadUrl"]),
    "proxy": ("artifacts", "ArtifactProxyService", ART, [
        "listArtifacts", "deleteArtifact", "createMultipartUpload", "completeMultipartUpload", "abortMultipartUpload",
        "getPresignedDownloadUrl"]),
}
RENAME = {("run_artifacts", "listArtifacts"): "ListRunArtifacts"}
rpcs = {(r["service"], r["rpc"]): r for r in src["rpcs"]}
placed = {}  # mlflow message or enum -> (package, file, our name)


def snake(n):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", n).upper()


def refs(n):
    for f in M[n]["fields"]:
        if f.get("map") or "type_name" not in f:
            continue
        yield f["type_name"]


def place(n, pkg, file, name):
    if n in placed or n.startswith("google."):
        return
    placed[n] = (pkg, file, name)
    if n in M:
        for t in refs(n):
            place(t, pkg, file, t.split(".")[-1] if not t.endswith("Response") else t.split(".")[-2] + "Response")


for file, (pkg, _s, svc, names) in FILES.items():
    for rpc in names:
        r = rpcs[(svc, rpc)]
        nm = RENAME.get((file, rpc)) or rpc[0].upper() + rpc[1:]
        placed_as = (r["request"], r["response"])
        place(placed_as[0], pkg, file, nm + "Request")
        place(placed_as[1], pkg, file, nm + "Response")

for file, (pkg, service, svc, names) in FILES.items():
    imports, body, checks = set(), [], {}
    for rpc in names:
        r = rpcs[(svc, rpc)]
        checks[r["request"]] = r.get("handler_validation") or {}

    def tname(t):
        if t.startswith("google."):
            imports.add("google/protobuf/struct.proto" if t.endswith("Value") else "google/protobuf/" + t.split(".")[-1].lower() + ".proto")
            return t
        p, f, n = placed[t]
        if f != file:
            imports.add(f"millrace/{p}/v1/{f}.proto")
        return n if p == pkg else f"millrace.{p}.v1.{n}"

    lines = []
    for t, (p, f, n) in placed.items():
        if f != file:
            continue
        if t in E:
            pre = snake(n) + "_"
            vals = dict(E[t]["values"])
            lines.append(f"enum {n} {{")
            names_ = {k if k.startswith(pre) else pre + k: v for k, v in vals.items()}
            if 0 not in names_.values():
                lines.append(f"  {pre}UNSPECIFIED = 0;")
            for k, v in sorted(names_.items(), key=lambda x: x[1]):
                lines.append(f"  {k} = {v};")
            lines += ["}", ""]
            continue
        lines.append(f"message {n} {{")
        for x in sorted(M[t]["fields"], key=lambda x: x["number"]):
            if x.get("map"):
                ty, lab = f"map<{x['map']['key']}, {x['map']['value']}>", ""
            else:
                ty = tname(x["type_name"]) if "type_name" in x else x["type"]
                lab = "repeated " if x["label"] == "repeated" else ("" if x["type"] == "message" else "optional ")
            opt = ""
            ck = checks.get(t, {}).get(x["name"])
            if ck:
                imports.add("millrace/options/v1/rest.proto")
                opt = " [" + ", ".join(f'(millrace.options.v1.check) = "{c.split(" (")[0]}"' for c in ck) + "]"
            lines.append(f"  {lab}{ty} {x['name']} = {x['number']}{opt};")
        lines += ["}", ""]
    sv = [f"service {service} {{"]
    imports.add("google/api/annotations.proto")
    for rpc in names:
        r = rpcs[(svc, rpc)]
        nm = RENAME.get((file, rpc)) or rpc[0].upper() + rpc[1:]
        b = []
        for e in r["endpoints"]:
            path = "/api/%s.0/%s" % (e["since"].split(".")[0], e["base_path"].lstrip("/"))
            path = path.replace("<path:artifact_path>", "{artifact_path=**}")
            m = e["method"].lower()
            b.append(f'{m}: "{path}"' + ('\n      body: "*"' if m in ("post", "put", "patch") else ""))
        extra = "".join("\n      additional_bindings { " + x.replace("\n     ", "") + " }" for x in b[1:])
        sv += [f"  rpc {nm}({tname(r['request'])}) returns ({tname(r['response'])}) {{", "    option (google.api.http) = {\n      " + b[0] + extra + "\n    };", "  }"]
    sv += ["}", ""]
    head = ['syntax = "proto3";', "", f"package millrace.{pkg}.v1;", ""] + [f'import "{i}";' for i in sorted(imports)] + [""]
    d = out / "millrace" / pkg / "v1"
    d.mkdir(parents=True, exist_ok=True)
    (d / f"{file}.proto").write_text("\n".join(head + sv + lines))
