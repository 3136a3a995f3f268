"""The errors of this package. Their kinds differ in whether a retry can help.

Any other exception is a defect in this package or in user code and keeps its own type.
"""

from __future__ import annotations

_MAX_VALUE_LENGTH = 200
_MAX_DESCRIPTION_LENGTH = 1000


def describe_error(error: BaseException) -> str:
    """Return the type and text of an exception of other people's code, which may have no text.

    Examples
    --------
    >>> describe_error(ValueError("no such category"))
    'ValueError: no such category'
    """
    try:
        text = str(error)
    except BaseException:
        text = "its text cannot be read"
    return f"{type(error).__name__}: {text}"[:_MAX_DESCRIPTION_LENGTH]


class MlopsError(Exception):
    """The base class of all errors of this package."""


class InvalidSpecError(MlopsError):
    """A field has an invalid value. A retry cannot help, so the task fails at once.

    Parameters
    ----------
    field
        Name of the field as the user wrote it, with dots for nested fields: `source.query`.
    value
        The value that was given.
    hint
        What the value must be, and what to do about it.

    Examples
    --------
    >>> raise InvalidSpecError("target", "diagnosis", "it must be a column of the dataset. Use 'age' or 'size'")
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.errors.InvalidSpecError: Invalid target='diagnosis': it must be a column of the dataset. \
Use 'age' or 'size'.
    """

    def __init__(self, field: str, value: object, hint: str) -> None:
        super().__init__(field, value, hint)
        self.field = field
        self.value = value
        self.hint = hint

    def __str__(self) -> str:
        value = repr(self.value)
        if len(value) > _MAX_VALUE_LENGTH:
            value = value[: _MAX_VALUE_LENGTH - 3] + "..."
        return f"Invalid {self.field}={value}: {_end_sentence(self.hint)}"


class FieldError(ValueError):
    """A validator of a spec found a field with an invalid value.

    Parameters
    ----------
    field
        Name of the field within the model that is validated.
    hint
        What the value must be, and what to do about it.
    """

    def __init__(self, field: str, hint: str) -> None:
        super().__init__(hint)
        self.field = field


class RejectedError(MlopsError):
    """Data or a model did not pass a check. A retry cannot help: the same input is rejected again."""


class PromotionConflictError(RejectedError):
    """Someone else changed the champion in the meantime, so the comparison that was made no longer applies."""


class RolloutConflictError(RejectedError):
    """Another rollout of the model is in progress. The effects of two at once could not be distinguished."""


class MissingExtraError(MlopsError):
    """An extra of this package is not installed where the step runs. A retry cannot help.

    Parameters
    ----------
    subject
        What needs the extra, at the beginning of a sentence: `The step train`.
    extra
        Name of the extra.
    module
        A module of the extra that is missing.

    Examples
    --------
    >>> print(MissingExtraError("The step train", "train", "sklearn"))
    The step train needs the extra 'train', which is not installed here (no module named 'sklearn'). \
Install it where the step runs: pip install 'airflow-provider-mlops[train]'.
    """

    def __init__(self, subject: str, extra: str, module: str) -> None:
        super().__init__(subject, extra, module)
        self.subject = subject
        self.extra = extra
        self.module = module

    def __str__(self) -> str:
        return (
            f"{self.subject} needs the extra {self.extra!r}, which is not installed here (no module named "
            f"{self.module!r}). Install it where the step runs: pip install 'airflow-provider-mlops[{self.extra}]'."
        )


class BackendUnavailableError(MlopsError):
    """A service that the step needs is unavailable. Airflow's retries can help.

    Parameters
    ----------
    backend
        Name of the service, at the beginning of a sentence: `MLflow`, `The gateway`.
    address
        Address at which it was expected, without credentials.
    cause
        What happened: `connection refused`.
    hint
        What to check.

    Examples
    --------
    >>> print(BackendUnavailableError("MLflow", "http://mlflow:5000", "connection refused", "Check that it is running"))
    MLflow at http://mlflow:5000 is unavailable (connection refused). Check that it is running.
    """

    will_retry = False
    """Whether Airflow will run the task again; an operator sets it when a retry is left."""

    def __init__(self, backend: str, address: str, cause: str, hint: str = "Check that it is running") -> None:
        super().__init__(backend, address, cause, hint)
        self.backend = backend
        self.address = address
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        hint = self.hint.rstrip(".") + ("; Airflow will retry." if self.will_retry else ".")
        return f"{self.backend} at {self.address} is unavailable ({self.cause.strip().rstrip('.')}). {hint}"


class BackendUnusableError(MlopsError):
    """A service or its files must be repaired by a person before they can be used. A retry cannot help.

    Parameters
    ----------
    backend
        Name of the service, at the beginning of a sentence: `The rollout store`.
    address
        Its address, without credentials.
    cause
        What happened: `it is read-only`.
    hint
        What to do.

    Examples
    --------
    >>> print(BackendUnusableError("The rollout store", "sqlite:////data/rollouts.db", "it is read-only", "Remount it"))
    The rollout store at sqlite:////data/rollouts.db cannot be used (it is read-only). Remount it.
    """

    def __init__(self, backend: str, address: str, cause: str, hint: str) -> None:
        super().__init__(backend, address, cause, hint)
        self.backend = backend
        self.address = address
        self.cause = cause
        self.hint = hint

    def __str__(self) -> str:
        cause = self.cause.strip().rstrip(".")
        return f"{self.backend} at {self.address} cannot be used ({cause}). {_end_sentence(self.hint)}"


def _end_sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


BY_NAME: dict[str, type[MlopsError]] = {
    error.__name__: error
    for error in (
        InvalidSpecError,
        MissingExtraError,
        RejectedError,
        PromotionConflictError,
        RolloutConflictError,
        BackendUnavailableError,
        BackendUnusableError,
    )
}
"""Errors that keep their type when a step in another process returns them as JSON."""
