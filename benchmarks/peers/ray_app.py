"""A model behind Ray Serve, after its documentation. Runs in an environment of its own: `python ray_app.py PORT`."""

import os
import sys
import time
import warnings

import joblib
import numpy as np
import pandas as pd
import ray
from ray import serve
from ray.serve.schema import LoggingConfig


@serve.deployment(num_replicas=1, max_ongoing_requests=100, ray_actor_options={"num_cpus": 1})
class Model:
    def __init__(self, path):
        warnings.simplefilter("ignore")
        self.model = joblib.load(path)

    async def __call__(self, request):
        if request.method == "GET":
            return {}
        body = await request.json()
        features = np.array(body["data"]) if "data" in body else pd.DataFrame.from_records(body["records"])
        answer = {"predictions": self.model.predict(features).tolist()}
        if hasattr(self.model, "predict_proba"):
            answer["probabilities"] = self.model.predict_proba(features).tolist()
        return answer


ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(
    http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config=LoggingConfig(enable_access_log=False)
)
serve.run(Model.bind(os.environ["MODEL"]), route_prefix="/")
while True:
    time.sleep(60)
