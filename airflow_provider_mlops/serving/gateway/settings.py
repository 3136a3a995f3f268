"""What a gateway is started with."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_mlops.serving.protocols import body


@dataclass(frozen=True)
class Settings:
    """The options of `airflow-mlops serve`.

    :ivar storage_uri: where the prediction log goes; the steps of the DAGs use the same.
    :ivar rollout_store: the SQLAlchemy URL of the rollout store; by default SQLite under the storage URI.
    :ivar models: the models to serve; empty for all that have a champion.
    :ivar threads: how many threads predict with each version. One is best for small models, since Python's lock lets
        one run at a time.
    :ivar prediction_log: whether predictions are logged. Those of rollouts always are, and so are labels.
    :ivar max_requests: how many requests for predictions may be under way; those beyond are answered with 429.
    :ivar max_waiting: how many of them may wait for one version; those beyond are answered with 429.
    :ivar poll_seconds: how often MLflow is asked whether a champion has changed.
    :ivar compact_seconds: how often the write-ahead log is compacted to Parquet.
    :ivar predict_seconds: after how long a prediction is given up and answered with 503.
    """

    storage_uri: str
    tracking_uri: str | None = None
    registry_uri: str | None = None
    token: str | None = None
    rollout_store: str | None = None
    models: tuple[str, ...] = ()
    allow_pickle: bool = False
    threads: int = 1
    prediction_log: bool = True
    max_requests: int = 1024
    max_waiting: int = 512
    max_body_bytes: int = body.MAXIMUM_BYTES
    poll_seconds: float = 2.0
    compact_seconds: float = 300.0
    predict_seconds: float = 60.0
