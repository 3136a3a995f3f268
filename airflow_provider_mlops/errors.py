"""The three ways a step can fail, told apart by whether trying again can help.

Anything else that is raised is a defect of ours or of user code and keeps its own type.
"""

from __future__ import annotations


class MlopsError(Exception):
    """What every error of this package derives from."""


class InvalidSpecError(MlopsError):
    """A field of a spec is wrong. Retrying cannot help, so the task fails at once.

    The message always names the field, the value and the way out.

    >>> raise InvalidSpecError("target", "diagnosis", "name one of the columns: 'age', 'size'")
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.errors.InvalidSpecError: target='diagnosis': name one of the columns: 'age', 'size'
    """

    def __init__(self, field: str, value: object, hint: str) -> None:
        super().__init__(field, value, hint)
        self.field = field
        self.value = value
        self.hint = hint

    def __str__(self) -> str:
        shown = repr(self.value)
        if len(shown) > 200:
            shown = shown[:197] + "..."
        return f"{self.field}={shown}: {self.hint}"


class FieldError(ValueError):
    """What a check over several fields of a spec raises to say which of them is to be changed."""

    def __init__(self, field: str, hint: str) -> None:
        super().__init__(hint)
        self.field = field


class RejectedError(MlopsError):
    """Data or a model did not pass. Retrying cannot help: the same input is rejected again."""


class PromotionConflictError(RejectedError):
    """Somebody else moved the champion in the meantime. What was validated is no longer the comparison to make."""


class RolloutConflictError(RejectedError):
    """Another rollout of the model is under way. Two at once could not be told apart."""


class BackendUnavailableError(MlopsError):
    """A service that the step needs does not answer. Airflow's retries can help."""

    def __init__(self, backend: str, address: str, hint: str) -> None:
        super().__init__(backend, address, hint)
        self.backend = backend
        self.address = address
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.backend} at {self.address} is away: {self.hint}"


BY_NAME: dict[str, type[MlopsError]] = {
    error.__name__: error
    for error in (
        InvalidSpecError,
        RejectedError,
        PromotionConflictError,
        RolloutConflictError,
        BackendUnavailableError,
    )
}
"""How an error that crossed a process border as JSON gets its type back."""
