"""The names of the tags that this package puts on runs and model versions."""

from __future__ import annotations

DAG_ID = "mlops.dag_id"
RUN_ID = "mlops.run_id"
TASK_ID = "mlops.task_id"
MAP_INDEX = "mlops.map_index"
OWNER = "mlops.owner"
TRY_NUMBER = "mlops.try_number"

IDENTITY = "mlops.identity"
"""A hash of the task and the step: what a retry finds the run and the version of the first try by."""

WORK = "mlops.work"
"""A hash of all that decides what training makes: spec, data, user code, commit and package versions."""

MODEL_ID = "mlops.model_id"
"""The logged model that a version was made of. A database of MLflow does not keep it by itself."""

STEP = "mlops.step"
DATA_FINGERPRINT = "mlops.data_fingerprint"
PROFILE_URI = "mlops.profile_uri"
PREDICTION_PROFILE_URI = "mlops.prediction_profile_uri"
EVALUATION_URI = "mlops.evaluation_uri"
TARGET = "mlops.target"
PROBLEM = "mlops.problem"
VERDICT = "mlops.verdict"
GIT_COMMIT = "mlops.git_commit"
SEED = "mlops.seed"
STUDY = "mlops.study"
