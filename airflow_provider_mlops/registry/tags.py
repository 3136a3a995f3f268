"""The tags that this package sets on runs and model versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_mlops.data.task_identity import TaskIdentity

MAX_TAG_LENGTH = 5000
"""Longest value of a tag. Longer values are cut."""

DAG_ID = "mlops.dag_id"
RUN_ID = "mlops.run_id"
TASK_ID = "mlops.task_id"
MAP_INDEX = "mlops.map_index"
OWNER = "mlops.owner"
TRY_NUMBER = "mlops.try_number"

IDENTITY = "mlops.identity"
"""Hash of the task and the step, by which a retry finds the run and the version of the first try."""

WORK = "mlops.work"
"""Hash of everything that determines the trained model: spec, data, user code, commit and package versions."""

MODEL_ID = "mlops.model_id"
"""Id of the logged model that a version was made from. MLflow's database does not store it by itself."""

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


def task_tags(task: TaskIdentity) -> dict[str, str]:
    """Return the tags that name a task. They are the same for every try, so that a retry finds what it made."""
    return {
        DAG_ID: task.dag_id,
        RUN_ID: task.run_id,
        TASK_ID: task.task_id,
        MAP_INDEX: str(task.map_index),
        OWNER: task.owner,
    }
