"""The description of a replay: which rows, to which model, how fast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.client.credentials import ClientTls, find_key
from airflow_provider_mlops.serving.defaults import DEFAULT_GATEWAY_URL
from airflow_provider_mlops.serving.field_help import check_bounds, describe

CORRECT = "correct"


@dataclass(frozen=True)
class Traffic:
    """Rows to replay against a gateway, and the pace.

    The columns that the model expects are sent. The replay ends with the dataset, or earlier if `requests` or `seconds`
    is reached; with `repeat` and neither of the two, it runs until it is stopped.

    The metadata of each field describes it under `help`, as in `Settings` of the gateway; the options of
    `airflow-mlops traffic` are made from it.

    Raises
    ------
    InvalidSpecError
        If a value is invalid.

    Examples
    --------
    >>> traffic = Traffic("customers.parquet", "churn", rate=50, seconds=60, target="churned")
    >>> traffic.sends_feedback
    True
    """

    dataset: str | Dataset = field(
        metadata=describe(
            "Rows to send: the URI of a dataset, or a Parquet or CSV file (path or URI). A CSV file is held in memory."
        )
    )
    model: str = field(metadata=describe("Name of the registered model."))
    gateway_url: str = field(default=DEFAULT_GATEWAY_URL, metadata=describe("URL of the gateway.", metavar="URL"))
    key_file: str | None = field(
        default=None,
        metadata=describe(
            "File with the key to send; by default, the key in the environment variable AIRFLOW_MLOPS_GATEWAY_KEY.",
            metavar="FILE",
        ),
    )
    ca_bundle: str | None = field(
        default=None,
        metadata=describe(
            "PEM file with the authorities that sign the gateway's certificate, instead of the usual ones.",
            metavar="FILE",
        ),
    )
    certificate: str | None = field(
        default=None, metadata=describe("PEM certificate to show to the gateway, for mutual TLS.", metavar="FILE")
    )
    certificate_key: str | None = field(
        default=None,
        metadata=describe("PEM key of that certificate, if it is in a file of its own.", metavar="FILE"),
    )
    rate: float = field(
        default=10.0,
        metadata=describe(
            "Requests per second; a request is sent on time even if earlier ones are not answered yet.",
            metavar="NUMBER",
            above=0,
        ),
    )
    even: bool = field(
        default=False,
        metadata=describe("Send requests at equal intervals; by default, they arrive at random (a Poisson process)."),
    )
    seed: int = field(default=0, metadata=describe("Random seed for request times and label sampling.", metavar="N"))
    rows: int = field(default=1, metadata=describe("Rows per request.", metavar="N", min_=1))
    requests: int | None = field(
        default=None, metadata=describe("Stop after this number of requests.", metavar="N", min_=1)
    )
    seconds: float | None = field(
        default=None,
        metadata=describe(
            "Stop after this number of seconds; requests that are still waiting one second later are dropped.",
            metavar="SECONDS",
            above=0,
        ),
    )
    repeat: bool = field(default=False, metadata=describe("Start again at the first row when the dataset ends."))
    clients: int = field(
        default=16,
        metadata=describe(
            "Maximum number of requests in progress, each on its own connection; further requests wait.",
            metavar="N",
            min_=1,
        ),
    )
    timeout: float = field(
        default=30.0,
        metadata=describe("Seconds to wait for an answer before a request fails.", metavar="SECONDS", above=0),
    )
    headers: Mapping[str, str] = field(
        default_factory=dict,
        metadata=describe(
            "Header to send and the column with its values, such as X-User-Id=customer_id; repeat the option for "
            "several. If a request has several rows, the first one counts.",
            metavar="NAME=COLUMN",
        ),
    )
    target: str | None = field(
        default=None,
        metadata=describe("Column with the labels to send back; rows with a null are skipped.", metavar="COLUMN"),
    )
    label_delay: float = field(
        default=0.0,
        metadata=describe("Seconds between an answer and its label.", metavar="SECONDS", min_=0),
    )
    label_share: float = field(
        default=1.0,
        metadata=describe("Share of the rows that get a label and a reward.", metavar="SHARE", min_=0, max_=1),
    )
    label_patience: float = field(
        default=60.0,
        metadata=describe(
            "Seconds during which the delivery of a label is tried again if it fails.", metavar="SECONDS", min_=0
        ),
    )
    reward: str | None = field(
        default=None,
        metadata=describe(
            "Column with the rewards to send back, in addition to labels or instead of them.", metavar="COLUMN"
        ),
    )
    reward_from: str | None = field(
        default=None,
        metadata=describe("correct: send a reward of 1 if the prediction equals the label, else 0.", metavar="NAME"),
    )
    record: str | None = field(
        default=None,
        metadata=describe(
            "Local file for a log of every answer, failure and acknowledged label, one JSON object per line.",
            metavar="FILE",
        ),
    )

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.reward_from not in (None, CORRECT):
            raise InvalidSpecError(
                "reward_from", self.reward_from, f"it must be {CORRECT!r}. For a column, set reward instead"
            )
        if self.reward_from and self.reward:
            raise InvalidSpecError("reward_from", self.reward_from, "it cannot be combined with reward. Remove one")
        if self.reward_from and not self.target:
            raise InvalidSpecError(
                "reward_from",
                self.reward_from,
                "it compares predictions with labels. Set target to the column with the labels",
            )

    def key(self) -> str | None:
        """Return the key to send; None if there is none. Raises InvalidSpecError if the file cannot be read."""
        return find_key(self.key_file)

    def tls(self) -> ClientTls:
        """Return the files for TLS."""
        return ClientTls(ca_bundle=self.ca_bundle, certificate=self.certificate, certificate_key=self.certificate_key)

    @property
    def sends_feedback(self) -> bool:
        """Whether answers are followed by labels or rewards."""
        return self.target is not None or self.reward is not None
