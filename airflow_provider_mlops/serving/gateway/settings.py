"""The settings of one gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_provider_mlops.serving.defaults import DEFAULT_HOST, MAX_BODY_BYTES
from airflow_provider_mlops.serving.field_help import check_bounds, describe


@dataclass(frozen=True)
class Settings:
    """The options of `airflow-mlops serve`.

    The metadata of each field describes it in one sentence under `help`; `metavar` names its value, and `min` is the
    smallest value allowed. The command-line options and the table in the docs are made from it.

    Examples
    --------
    >>> from dataclasses import fields
    >>> settings = Settings("/var/lib/mlops", threads=2)
    >>> settings.max_requests
    1024
    >>> next(field.metadata["help"] for field in fields(settings) if field.name == "threads")
    'Number of threads that run predictions of each version; one is best for small models.'
    """

    storage_uri: str = field(
        metadata=describe(
            "Storage directory or fsspec URI for the prediction log; use the same URI as the DAGs.", metavar="URI"
        )
    )
    tracking_uri: str | None = field(
        default=None,
        metadata=describe(
            "MLflow tracking URI; by default, the SQLite database in the storage directory.", metavar="URI"
        ),
    )
    registry_uri: str | None = field(
        default=None,
        metadata=describe("MLflow model registry URI, if it differs from the tracking URI.", metavar="URI"),
    )
    host: str = field(default=DEFAULT_HOST, metadata=describe("Address to listen on.", metavar="ADDRESS"))
    keys: str | None = field(
        default=None,
        metadata=describe(
            "File with the keys of the clients, made with `airflow-mlops keys`; it is read again when it changes. By "
            "default, the gateway makes one key for administration and saves it as gateway.key in the storage "
            "directory.",
            metavar="FILE",
        ),
    )
    open: bool = field(
        default=False,
        metadata=describe(
            "Let everyone who reaches the gateway send predictions without a key. Feedback and administration still "
            "need one, except feedback from this machine."
        ),
    )
    without_key: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            "What needs no key even if predictions do: probes (the health paths) or metrics; repeat the option for "
            "both.",
            metavar="NAME",
        ),
    )
    tls_certificate: str | None = field(
        default=None,
        metadata=describe("PEM file with the gateway's certificate and its chain; turns TLS on.", metavar="FILE"),
    )
    tls_key: str | None = field(
        default=None, metadata=describe("PEM file with the key of the certificate, not encrypted.", metavar="FILE")
    )
    tls_client_ca: str | None = field(
        default=None,
        metadata=describe(
            "PEM file with the authorities that sign the certificates of clients; a client without one is turned away "
            "(mutual TLS).",
            metavar="FILE",
        ),
    )
    cors_origins: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            "Origin whose web pages may use the gateway, such as https://app.example.com; repeat the option for "
            "several.",
            metavar="ORIGIN",
        ),
    )
    client_requests: float | None = field(
        default=None,
        metadata=describe(
            "Maximum number of requests per second of each client in each process; further ones receive status 429.",
            metavar="N",
            above=0,
        ),
    )
    client_rows: float | None = field(
        default=None,
        metadata=describe("Maximum number of rows per second of each client in each process.", metavar="N", above=0),
    )
    client_bytes: float | None = field(
        default=None,
        metadata=describe(
            "Maximum number of bytes of bodies per second of each client in each process.", metavar="BYTES", above=0
        ),
    )
    client_labels: float | None = field(
        default=None,
        metadata=describe(
            "Maximum number of labels and rewards per second of each client in each process.", metavar="N", above=0
        ),
    )
    rollout_store: str | None = field(
        default=None,
        metadata=describe(
            "SQLAlchemy URL of the rollout database; use PostgreSQL if gateways run on several machines. By default, "
            "a SQLite file in the storage directory.",
            metavar="URL",
        ),
    )
    models: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            "Name of a model to serve; repeat the option for several. By default, every model with a champion.",
            metavar="NAME",
        ),
    )
    trusted_types: tuple[str, ...] = field(
        default=(),
        metadata=describe(
            "Dotted name of a type that models may contain, in addition to scikit-learn's own types and those that "
            "were approved when a model was trained; repeat the option for several.",
            metavar="TYPE",
        ),
    )
    allow_pickle: bool = field(
        default=False,
        metadata=describe("Also load pickled models, which can run arbitrary code when they are loaded."),
    )
    default_model: str | None = field(
        default=None,
        metadata=describe(
            "Model that answers /invocations, which names none, if several models are active.", metavar="NAME"
        ),
    )
    grpc_port: int | None = field(
        default=None,
        metadata=describe(
            "Port for the Open Inference Protocol in gRPC; 0 chooses a free port and logs it. By default, the gateway "
            "has no gRPC port. Requires the extra grpc.",
            metavar="PORT",
            min_=0,
        ),
    )
    threads: int = field(
        default=1,
        metadata=describe(
            "Number of threads that run predictions of each version; one is best for small models.",
            metavar="N",
            min_=1,
        ),
    )
    prediction_log: bool = field(
        default=True,
        metadata=describe(
            "Log all predictions; if this is off, only labels and the predictions of rollouts are logged."
        ),
    )
    max_requests: int = field(
        default=1024,
        metadata=describe(
            "Maximum number of prediction requests in progress per process; further requests receive status 429.",
            metavar="N",
            min_=1,
        ),
    )
    max_waiting: int = field(
        default=512,
        metadata=describe(
            "Maximum number of requests that wait for one version; further requests receive status 429.",
            metavar="N",
            min_=1,
        ),
    )
    max_body_bytes: int = field(
        default=MAX_BODY_BYTES,
        metadata=describe(
            "Maximum size of a request body in bytes; larger requests receive status 413.", metavar="BYTES", min_=1024
        ),
    )
    max_in_flight_bytes: int = field(
        default=256 * 1024 * 1024,
        metadata=describe(
            "Maximum memory in bytes for the requests in progress per process: bodies that arrive, rows that wait and "
            "answers that are sent; further requests receive status 429.",
            metavar="BYTES",
            min_=1024 * 1024,
        ),
    )
    poll_seconds: float = field(
        default=2.0,
        metadata=describe("Seconds between checks of MLflow for a new champion.", metavar="SECONDS", min_=0.05),
    )
    compact_seconds: float = field(
        default=300.0,
        metadata=describe(
            "Seconds between compactions of the prediction log to Parquet.", metavar="SECONDS", min_=0.05
        ),
    )
    predict_seconds: float = field(
        default=60.0,
        metadata=describe(
            "Maximum duration of a prediction in seconds; slower requests receive status 503.",
            metavar="SECONDS",
            min_=0.1,
        ),
    )

    def __post_init__(self) -> None:
        check_bounds(self)
