"""Routes a request to a version: the one that its path names, the one that a rollout chooses, or the active one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.parsed_request import Parse, ParsedRequest
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import ModelFailureError, RequestError
from airflow_provider_mlops.serving.rows.rows import Rows


@dataclass(slots=True)
class RoutedRequest:
    """A request and the version that answers it.

    Parameters
    ----------
    choice
        Version, arm and propensity.
    model
        The version in memory.
    route
        Route of the rollout that made the choice, if any.
    parsed
        The parsed request, if the rollout needed its fields to choose.
    """

    choice: Choice
    model: LoadedModel
    route: Route | None = None
    parsed: ParsedRequest | None = None


async def route_request(
    route: Route,
    served: ServedModel,
    headers: Mapping[bytes, bytes],
    parse: Callable[[InputSchema], Awaitable[ParsedRequest]],
) -> RoutedRequest:
    """Let a rollout choose the version for a request.

    Raises RequestError if the rollout needs a field of the body and the body is invalid.

    Parameters
    ----------
    parse
        Parses the body by the champion's schema.
    """
    parsed: ParsedRequest | None = None
    if route.needs_fields:
        champion = served.versions.get(route.champion)
        if champion is not None:
            parsed = await parse(champion.schema)
    rows = None if parsed is None else parsed.rows
    choice = route.choose(route.request(headers, lambda name: None if rows is None else first_value(rows, name)))
    model = served.versions.get(choice.version)
    if model is None:
        # The version was unloaded after this process last read the rollout store.
        return RoutedRequest(*served.choose(None))
    return RoutedRequest(choice, model, route, parsed)


def first_value(rows: Rows, name: str) -> Any:
    """Return a column's value in the first row, as in JSON; None if there is no such column, row or value."""
    position = next((position for position, feature in enumerate(rows.schema.features) if feature.name == name), None)
    if position is None or not rows.count:
        return None
    value = rows.columns()[position][0]
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value.astype("datetime64[us]"))
    if isinstance(value, np.float32):
        # As the caller wrote it: 0.1 of 32 bits is 0.10000000149 of 64.
        value = float(str(value))
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if value != value:
        return None
    # Integers are stored as floats if another row has no value; as a sticky key, both must look the same.
    return int(value) if rows.schema.features[position].kind in ("integer", "long") else value


def parse_for_version(routed: RoutedRequest, served: ServedModel, parse: Parse, body: Body) -> ParsedRequest:
    """Return the request, parsed by the schema of the chosen version.

    Raises RequestError if it is invalid or names an output that the version does not have, or ModelFailureError if a
    candidate rejects a request that the champion accepts, which is not the caller's fault.
    """
    schema = routed.model.schema
    parsed = routed.parsed
    try:
        if parsed is None or parsed.rows.schema != schema:
            parsed = parse(body, schema)
        parsed.check_outputs(routed.model)
        return parsed
    except RequestError as error:
        champion = None if routed.route is None else served.versions.get(routed.route.champion)
        if champion is None or champion is routed.model:
            raise
        try:
            parse(body, champion.schema).check_outputs(champion)
        except RequestError:
            raise error from None
        raise ModelFailureError(
            error.status,
            f"{routed.model.version} rejects a request that the champion accepts: {error.message}",
            error.field,
        ) from error
