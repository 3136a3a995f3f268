"""The prediction log as one table: every prediction with its inputs, its model version, and its label or reward.

The columns are:

- `prediction_id` (string)
- `time` (timestamp (UTC))
- `model` (string)
- `version` (int64)
- `arm` (string):
  Arm of the routing policy that answered: `champion`; `candidate` of a rollout (`candidate_<version>` if there are
  several); `cohort` if the request belonged to the cohort of a rollout, which gets the candidate; `shadow` for an
  answer to a copied request, which no caller has seen; `pinned` if the request named a version; `verification` if a
  client with the gateway's token checked the gateway, as a deployment does.
- `propensity` (float64):
  Probability with which the policy chose the arm; 1.0 for `cohort` and `pinned`.
- `feature_<name>`:
  One column per feature, with its type in the model's signature; null if the value was missing.
- `output` (int64, float64, string, boolean, or a list of float64 for several targets):
  The prediction.
- `probability_<class>` (float64):
  For classifiers that predict probabilities.
- `latency_ms` (float64):
  Time from the request's last byte to the log record, the same for all rows of a request. For a shadow's answer, null
  if it was predicted together with others, and otherwise what a caller would have seen.
- `rollout` (string):
  Id of the rollout that the request was part of; null if it was part of none, as requests outside the cohort in the
  cohort's step.
- `context` (string):
  Declared features that the rollout's policy used, as JSON.
- `shadow_of` (string):
  For a shadow's answer, the id of the request that was copied.
- `label` (the type of `output`):
  Last label that arrived; null if there is none, or if it cannot be read as that type.
- `label_time` (timestamp (UTC)):
  Time at which that label arrived.
- `reward` (float64):
  First reward that arrived.

If versions have different features, a row has null in the columns that its version does not know. A model without
predictions gives no rows and no feature or probability columns; its `output` and `label` are float64.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data import engine
from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.data.times import as_utc
from airflow_provider_mlops.serving.log import layout, segment_content, segments
from airflow_provider_mlops.serving.log.schema import FEATURE, LogSchema

if TYPE_CHECKING:
    import ibis
    import ibis.expr.datatypes as dt
    import pyarrow as pa

log = logging.getLogger(__name__)


def read(
    storage_uri: str,
    model: str,
    *,
    version: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    connection: ibis.BaseBackend | None = None,
) -> ibis.Table:
    """Return the predictions of a model, one row each, with the columns that this module describes.

    Every prediction that the gateway acknowledged is in the table exactly once, whether it has been compacted to
    Parquet or is still in the write-ahead log. (The write-ahead log can be read only if the storage is a disk that the
    gateway and the reader share.)

    Parameters
    ----------
    since, until
        Times of the predictions, not of their labels; `since` is included, `until` is not. UTC if they have no time
        zone.
    connection
        Ibis backend to read with; by default, a new one.
    """
    import ibis

    backend = engine.connect() if connection is None else connection
    since, until = since and as_utc(since), until and as_utc(until)
    first = None if since is None else since.date().isoformat()
    last = None if until is None else until.date().isoformat()
    contents = _write_ahead(storage_uri, model)
    files = [
        file
        for file in layout.predictions_files(storage_uri, model, first, last)
        if file.segment not in contents and version in (None, file.version)
    ]
    parts = _prediction_parts(backend, version, files, contents)
    columns = LogSchema(model, 0, (), "double").arrow().empty_table()
    # A file from before the log had a column gets null there. The type of the output is known from the files alone.
    parts.append(ibis.memtable(columns.drop_columns("output") if parts else columns))
    table = _union(parts).mutate(model=ibis.literal(model)).relocate("model", after="time")
    if since is not None:
        table = table.filter(table.time >= since)
    if until is not None:
        table = table.filter(table.time < until)
    return _labeled(table, _feedback(backend, storage_uri, first, contents))


def first_feedback(
    storage_uri: str, *, since: datetime | None = None, connection: ibis.BaseBackend | None = None
) -> ibis.Table:
    """Return the first label and the first reward of each prediction: the ones that rollouts count.

    The columns are `prediction_id`, `label` (the text as it was sent; `read` returns the last label, as the type of
    the output) and `reward`. Feedback from before the day of `since` is left out.
    """
    import ibis

    backend = engine.connect() if connection is None else connection
    since = since and as_utc(since)
    first = None if since is None else since.date().isoformat()
    # No model has an empty name, so that no predictions are read.
    table = _feedback(backend, storage_uri, first, _write_ahead(storage_uri, ""))
    if table is None:
        table = ibis.memtable(segment_content.feedback_table([])).mutate(first_label=ibis.null("string"))
    return table.select("prediction_id", "reward", label=table.first_label)


def features(table: ibis.Table) -> ibis.Table:
    """Return only the features of a table that `read` returned, under their own names."""
    names = {name.removeprefix(FEATURE): name for name in table.columns if name.startswith(FEATURE)}
    return table.select(**{name: table[column] for name, column in names.items()})


def _prediction_parts(
    backend: ibis.BaseBackend,
    version: int | None,
    files: list[layout.LogFile],
    contents: dict[str, segment_content.SegmentContent],
) -> list[ibis.Table]:
    """Return the predictions by version: those in Parquet files, then those in the write-ahead log."""
    import ibis

    uris: dict[int, list[str]] = defaultdict(list)
    for file in files:
        if file.version is not None:
            uris[file.version].append(file.uri)
    fresh: dict[int, list[pa.Table]] = defaultdict(list)
    for content in contents.values():
        for schema, _, table in content.predictions:
            if version in (None, schema.version):
                fresh[schema.version].append(table)
    parts: list[ibis.Table] = []
    for number in sorted(uris.keys() | fresh.keys()):
        if number in uris:
            parts.append(_parquet(backend, uris[number]))
        parts.extend(ibis.memtable(table) for table in fresh[number])
    return parts


def _write_ahead(storage_uri: str, model: str) -> dict[str, segment_content.SegmentContent]:
    """Return what has not been compacted, by segment.

    It is read before the Parquet files are listed. A segment that has disappeared was compacted
    earlier, so that its Parquet files will be found; a segment that is compacted later was read
    here, and its Parquet files are left out.
    """
    root = layout.write_ahead_root(storage_uri)
    contents = {}
    for segment in segments.segments(root):
        try:
            content = segment_content.SegmentContent(segments.records(segment.path), model)
        except FileNotFoundError:
            continue
        contents[segment.name] = content
        if content.rejected:
            log.warning(
                "Skipped %s of %s, because they cannot be rows of a table; the first one: %s",
                pluralize(len(content.rejected), "record"),
                segment.path,
                content.rejected[0].reason,
            )
    return contents


def _feedback(
    backend: ibis.BaseBackend, storage_uri: str, first: str | None, contents: dict[str, segment_content.SegmentContent]
) -> ibis.Table | None:
    import ibis

    parts = []
    files = [file.uri for file in layout.feedback_files(storage_uri, first) if file.segment not in contents]
    if files:
        parts.append(_parquet(backend, files))
    labels = [row for content in contents.values() for rows in content.feedback.values() for row in rows]
    if labels:
        parts.append(ibis.memtable(segment_content.feedback_table(labels)))
    if not parts:
        return None
    table = _union([*parts, ibis.memtable(segment_content.feedback_table([]))])
    has_label, has_reward = table.label.notnull(), table.reward.notnull()
    return table.group_by("prediction_id").agg(
        label=table.label.argmax(table.time, where=has_label),
        first_label=table.label.argmin(table.time, where=has_label),
        label_time=table.time.max(where=has_label),
        reward=table.reward.argmin(table.time, where=has_reward),
    )


def _labeled(table: ibis.Table, labels: ibis.Table | None) -> ibis.Table:
    import ibis

    type_ = table.output.type()
    if labels is None:
        return table.mutate(
            label=ibis.null(type_), label_time=ibis.null("timestamp('UTC')"), reward=ibis.null("float64")
        )
    label = labels.label if type_.is_string() else labels.label.try_cast(type_)
    if type_.is_integer():
        # The engine would round a label with a fraction.
        label = ibis.ifelse(labels.label.try_cast("float64") == label.cast("float64"), label, ibis.null(type_))
    if type_.is_array():
        label = ibis.null(type_)
    labels = labels.mutate(label=label)
    joined = table.left_join(labels, "prediction_id")
    return joined.select(*(table[name] for name in table.columns), labels.label, labels.label_time, labels.reward)


def _union(parts: list[ibis.Table]) -> ibis.Table:
    """Return all rows of tables whose columns may differ: missing columns are null, types become the wider one."""
    import ibis

    types: dict[str, dt.DataType] = {}
    for part in parts:
        for name, type_ in part.schema().items():
            known = types.get(name, type_)
            types[name] = known if known == type_ else _wider(known, type_)
    # In the order of a log file, including the columns that only some versions have.
    order = sorted(types, key=lambda name: (_rank(name), list(types).index(name)))
    aligned = [
        part.select(
            **{name: part[name].cast(types[name]) if name in part.columns else ibis.null(types[name]) for name in order}
        )
        for part in parts
    ]
    return ibis.union(*aligned) if len(aligned) > 1 else aligned[0]


def _wider(first: dt.DataType, second: dt.DataType) -> dt.DataType:
    import ibis.expr.datatypes as dt

    if first.is_numeric() and second.is_numeric():
        return dt.int64 if first.is_integer() and second.is_integer() else dt.float64
    return dt.string


_ORDER = ("prediction_id", "time", "version", "arm", "propensity", FEATURE, "output", "probability_", "latency_ms")


def _rank(name: str) -> int:
    for rank, column in enumerate(_ORDER):
        if name == column or (column.endswith("_") and name.startswith(column)):
            return rank
    return len(_ORDER)


def _parquet(backend: ibis.BaseBackend, uris: list[str]) -> ibis.Table:
    table = engine.read_parquet(backend, uris, by_name=True)
    # The names of the directories contain the model and the date; some engines turn them into columns.
    return table.drop(*(name for name in ("model", "date") if name in table.columns))
