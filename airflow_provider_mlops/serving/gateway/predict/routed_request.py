"""Who answers a request: by its address, by the rollout that is under way, or the active version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, Choice, RoutingRequest
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.request import Read, Request
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import ModelFailureError, RequestError
from airflow_provider_mlops.serving.rows.rows import Rows


@dataclass(slots=True)
class RoutedRequest:
    """The version that answers.

    :ivar route: the rollout's, if one has chosen, and `asked` what it went by.
    :ivar read: the request, where the rollout had to read it to choose.
    """

    choice: Choice
    model: LoadedModel
    route: Route | None = None
    asked: RoutingRequest = ANY_REQUEST
    read: Request | None = None


async def route_request(
    route: Route,
    served: ServedModel,
    headers: Mapping[bytes, bytes],
    first_read: Callable[[InputSchema], Awaitable[Request]],
) -> RoutedRequest:
    """The choice of a rollout. Raises RequestError as the protocol does, where the rollout goes by a column.

    :param first_read: reads the body by the champion's signature.
    """
    request: Request | None = None
    if route.needs_fields:
        champion = served.versions.get(route.champion)
        if champion is not None:
            request = await first_read(champion.schema)
    rows = None if request is None else request.rows
    asked = route.request(headers, lambda name: None if rows is None else first_value(rows, name))
    choice = route.choose(asked)
    model = served.versions.get(choice.version)
    if model is None:
        # Let go between two looks of this process at the store.
        return RoutedRequest(*served.choose(None))
    return RoutedRequest(choice, model, route, asked, request)


def first_value(rows: Rows, name: str) -> Any:
    """The value of a column in the first row, as JSON has it; None if there is no such column, no row, or no value."""
    place = next((place for place, feature in enumerate(rows.schema.features) if feature.name == name), None)
    if place is None or not rows.count:
        return None
    value = rows.columns()[place][0]
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else str(value.astype("datetime64[us]"))
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if value != value:
        return None
    # Whole numbers are held with a fraction where another row lacks one; as a key they must read the same.
    return int(value) if rows.schema.features[place].kind in ("integer", "long") else value


def read_request(chosen: RoutedRequest, served: ServedModel, read: Read, body: Body) -> Request:
    """The request as the chosen version takes it.

    Raises RequestError; ModelFailureError where a candidate does not take rows that fit the champion's signature: that is no
    fault of the caller's.
    """
    schema = chosen.model.schema
    if chosen.read is not None and chosen.read.rows.schema == schema:
        return chosen.read
    try:
        return read(body, schema)
    except RequestError as refusal:
        champion = None if chosen.route is None else served.versions.get(chosen.route.champion)
        if champion is None or champion is chosen.model or champion.schema == schema:
            raise
        try:
            read(body, champion.schema)
        except RequestError:
            raise refusal from None
        raise ModelFailureError(
            refusal.status,
            f"{chosen.model.version} does not take what the champion takes: {refusal.message}",
            refusal.field,
        ) from refusal
