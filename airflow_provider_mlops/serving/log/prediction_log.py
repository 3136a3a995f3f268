"""The prediction log as one table: what was predicted, from what, by which version, and the label where it has come."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import engine
from airflow_provider_mlops.data.times import as_utc
from airflow_provider_mlops.serving.log import compaction, layout, write_ahead
from airflow_provider_mlops.serving.log.schema import FEATURE, LogSchema

if TYPE_CHECKING:
    import ibis


def read(
    storage_uri: str,
    model: str,
    *,
    version: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    connection: ibis.BaseBackend | None = None,
) -> ibis.Table:
    """The predictions that a model made, one row each, from `since` (included) to `until` (left out).

    Both times are of the prediction, not of its label; without a zone they are UTC. What the gateway has acknowledged
    is there exactly once, whether it has been compacted to Parquet or still lies in the write-ahead log (which can be
    seen where the storage is a disk that the gateway and the reader share). The columns are

    - `prediction_id`: string; `time`: timestamp in UTC; `model`: string; `version`: int64
    - `arm`: string, the arm of the routing policy that answered: `champion`; `candidate` of a rollout (one of several:
      `candidate_<version>`); `shadow` for an answer to a copy, which no caller has seen; `pinned` if the request named
      a version; `verification` if it was a check of the gateway by a holder of its token, such as a deployment's, and
      no traffic
    - `propensity`: float64, the probability with which the policy chose that arm; 1.0 for `pinned`
    - `feature_<name>`: a column for each feature, of the type in the model's signature, null where it was missing
    - `output`: what the model predicted: int64, float64, string or boolean; a list of float64 for several targets
    - `probability_<class>`: float64, for classifiers that know probabilities
    - `latency_ms`: float64, from the request's last byte to the log record, the same for all rows of a request; of a
      shadow's answers, null for those that were predicted together, and what a caller would have seen for the others
    - `rollout`: string, the rollout that the request was part of; `context`: string, the declared features that its
      policy went by, as JSON; `shadow_of`: string, for an answer to a copy that no caller has seen (its arm is
      `shadow`): the id of the request that was copied. All are null elsewhere
    - `label`: the last label that came, as the type of `output`; null if none came or if it cannot be read as that type
    - `label_time`: timestamp in UTC of that label; null if none came
    - `reward`: float64, the first reward that came; null if none came

    Where versions have different features, a row has null in those that its version does not know. A model that never
    answered gives no rows, and no feature and probability columns; `output` and `label` are float64 then.
    """
    import ibis

    backend = engine.connect() if connection is None else connection
    since, until = since and as_utc(since), until and as_utc(until)
    first = None if since is None else since.date().isoformat()
    last = None if until is None else until.date().isoformat()
    contents = _write_ahead(storage_uri, model)

    files: dict[int, list[str]] = defaultdict(list)
    for file in layout.predictions_files(storage_uri, model, first, last):
        if file.segment not in contents and file.version is not None and version in (None, file.version):
            files[file.version].append(file.uri)
    fresh: dict[int, list[tuple[LogSchema, list[dict[str, Any]]]]] = defaultdict(list)
    for content in contents.values():
        for (schema, _), records in content.predictions.items():
            if version in (None, schema.version):
                fresh[schema.version].append((schema, records))

    parts: list[ibis.Table] = []
    for number in sorted(files.keys() | fresh.keys()):
        if number in files:
            parts.append(_parquet(backend, files[number]))
        tables = [compaction.prediction_table(schema, records) for schema, records in fresh[number]]
        parts.extend(ibis.memtable(table) for table in tables)
    columns = LogSchema(model, 0, (), "double").arrow().empty_table()
    # A file that was written before the log had a column has null there; what the output is, the files alone say.
    parts.append(ibis.memtable(columns.drop_columns("output") if parts else columns))
    table = _union(parts).mutate(model=ibis.literal(model)).relocate("model", after="time")
    if since is not None:
        table = table.filter(table.time >= since)
    if until is not None:
        table = table.filter(table.time < until)
    return _labelled(table, _feedback(backend, storage_uri, first, contents))


def first_feedback(
    storage_uri: str, *, since: datetime | None = None, connection: ibis.BaseBackend | None = None
) -> ibis.Table:
    """The first label and the first reward of each prediction, as they came: what rollouts count.

    The columns are `prediction_id`, `label` (the text that came; `read` has the last one, as the type of the output)
    and `reward`. What came before the day of `since` is left out.
    """
    import ibis

    backend = engine.connect() if connection is None else connection
    since = since and as_utc(since)
    first = None if since is None else since.date().isoformat()
    # Of no model: the predictions are not asked for.
    table = _feedback(backend, storage_uri, first, _write_ahead(storage_uri, ""))
    if table is None:
        table = ibis.memtable(compaction.feedback_table([])).mutate(first_label=ibis.null("string"))
    return table.select("prediction_id", "reward", label=table.first_label)


def features(table: ibis.Table) -> ibis.Table:
    """Only the features of a table that `read` returned, under their own names."""
    names = {name.removeprefix(FEATURE): name for name in table.columns if name.startswith(FEATURE)}
    return table.select(**{name: table[column] for name, column in names.items()})


def _write_ahead(storage_uri: str, model: str) -> dict[str, compaction.SegmentContent]:
    """What has not been compacted, by segment.

    It is read before the Parquet files are listed. A segment that is gone by then was compacted
    before, so that its Parquet files will be found; one that is compacted later was read here, and
    its Parquet files will be left out.
    """
    root = layout.write_ahead_root(storage_uri)
    contents = {}
    for segment in write_ahead.segments(root):
        try:
            contents[segment.name] = compaction.SegmentContent(write_ahead.records(segment.path), model)
        except FileNotFoundError:
            continue
    return contents


def _feedback(
    backend: ibis.BaseBackend, storage_uri: str, first: str | None, contents: dict[str, compaction.SegmentContent]
) -> ibis.Table | None:
    import ibis

    parts = []
    files = [file.uri for file in layout.feedback_files(storage_uri, first) if file.segment not in contents]
    if files:
        parts.append(_parquet(backend, files))
    labels = [row for content in contents.values() for rows in content.feedback.values() for row in rows]
    if labels:
        parts.append(ibis.memtable(compaction.feedback_table(labels)))
    if not parts:
        return None
    table = _union([*parts, ibis.memtable(compaction.feedback_table([]))])
    labelled, rewarded = table.label.notnull(), table.reward.notnull()
    return table.group_by("prediction_id").agg(
        label=table.label.argmax(table.time, where=labelled),
        first_label=table.label.argmin(table.time, where=labelled),
        label_time=table.time.max(where=labelled),
        reward=table.reward.argmin(table.time, where=rewarded),
    )


def _labelled(table: ibis.Table, labels: ibis.Table | None) -> ibis.Table:
    import ibis

    type_ = table.output.type()
    if labels is None:
        return table.mutate(
            label=ibis.null(type_), label_time=ibis.null("timestamp('UTC')"), reward=ibis.null("float64")
        )
    label = labels.label if type_.is_string() else labels.label.try_cast(type_)
    if type_.is_integer():
        # The engine would round what has a fraction.
        label = ibis.ifelse(labels.label.try_cast("float64") == label.cast("float64"), label, ibis.null(type_))
    if type_.is_array():
        label = ibis.null(type_)
    labels = labels.mutate(label=label)
    joined = table.left_join(labels, "prediction_id")
    return joined.select(*(table[name] for name in table.columns), labels.label, labels.label_time, labels.reward)


def _union(parts: list[ibis.Table]) -> ibis.Table:
    """All rows of tables whose columns may differ: missing ones are null, types become the wider one."""
    import ibis
    import ibis.expr.datatypes as dt

    types: dict[str, dt.DataType] = {}
    for part in parts:
        for name, type_ in part.schema().items():
            known = types.get(name, type_)
            types[name] = known if known == type_ else _wider(known, type_)
    # The order of the columns of a log file, with those that only some versions have put in their places.
    order = sorted(types, key=lambda name: (_place(name), list(types).index(name)))
    aligned = [
        part.select(
            **{name: part[name].cast(types[name]) if name in part.columns else ibis.null(types[name]) for name in order}
        )
        for part in parts
    ]
    return ibis.union(*aligned) if len(aligned) > 1 else aligned[0]


def _wider(one: Any, other: Any) -> Any:
    import ibis.expr.datatypes as dt

    if one.is_numeric() and other.is_numeric():
        both_whole = one.is_integer() and other.is_integer()
        return dt.int64 if both_whole else dt.float64
    return dt.string


_ORDER = ("prediction_id", "time", "version", "arm", "propensity", FEATURE, "output", "probability_", "latency_ms")


def _place(name: str) -> int:
    for place, known in enumerate(_ORDER):
        if name == known or (known.endswith("_") and name.startswith(known)):
            return place
    return len(_ORDER)


def _parquet(backend: ibis.BaseBackend, uris: list[str]) -> ibis.Table:
    table = engine.read_parquet(backend, uris, by_name=True)
    # The names of the directories say the model and the date; some engines make columns of them, unasked.
    return table.drop(*(name for name in ("model", "date") if name in table.columns))
