"""A model behind BentoML, after its documentation. Runs in an environment of its own: `bentoml serve`."""

import os
import warnings

import bentoml
import joblib
import numpy as np
import pandas as pd


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Model:
    def __init__(self):
        warnings.simplefilter("ignore")
        self.model = joblib.load(os.environ["MODEL"])

    def answer(self, features):
        answer = {"predictions": self.model.predict(features).tolist()}
        if hasattr(self.model, "predict_proba"):
            answer["probabilities"] = self.model.predict_proba(features).tolist()
        return answer

    @bentoml.api
    def numbers(self, data: np.ndarray) -> dict:
        return self.answer(data)

    @bentoml.api
    def records(self, records: pd.DataFrame) -> dict:
        return self.answer(records)
