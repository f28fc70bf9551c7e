"""Uploads one file in parts: upload_in_parts.py RUN_ID FILE [PARTS].

Once so many parts are acknowledged it makes a file `paused`, and sends the others when there is a file `go`.
Prints how the upload ended, and what the run's folder has then.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path

import requests
from mlflow import MlflowClient

run_id, path = sys.argv[1:3]
pause_after = int(sys.argv[3]) if len(sys.argv) > 3 else None
begun = acknowledged = 0
lock = threading.Lock()
send = requests.Session.send


def paused(self, request, **kwargs):
    global begun, acknowledged
    if request.method != "PUT":
        return send(self, request, **kwargs)
    with lock:
        begun += 1
        waits = begun > pause_after
    while waits and not Path("go").exists():
        time.sleep(0.01)
    response = send(self, request, **kwargs)
    with lock:
        acknowledged += response.status_code < 300
        if acknowledged == pause_after:
            Path("paused").touch()
    return response


if pause_after is not None:
    requests.Session.send = paused
client = MlflowClient()
error = None
try:
    client.log_artifact(run_id, path, "models")
except Exception as failure:
    error = str(failure)
print(json.dumps({"error": error, "listed": [os.path.basename(f.path) for f in client.list_artifacts(run_id, "models")]}))
