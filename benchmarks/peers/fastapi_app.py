"""A model behind FastAPI, as people write it by hand. Runs in an environment of its own: `uvicorn fastapi_app:app`."""

import os
import warnings

import joblib
import numpy as np
import pandas as pd
from fastapi import FastAPI
from pydantic import BaseModel

warnings.simplefilter("ignore")
model = joblib.load(os.environ["MODEL"])
has_probabilities = hasattr(model, "predict_proba")
app = FastAPI()


class Numbers(BaseModel):
    data: list[list[float]]


class Records(BaseModel):
    records: list[dict[str, float | int | bool | str | None]]


def answer(features):
    answer = {"predictions": model.predict(features).tolist()}
    if has_probabilities:
        answer["probabilities"] = model.predict_proba(features).tolist()
    return answer


@app.get("/ready")
async def ready():
    return {}


@app.post("/numbers")
async def numbers(body: Numbers):
    return answer(np.array(body.data))


@app.post("/records")
async def records(body: Records):
    return answer(pd.DataFrame.from_records(body.records))
