"""Checks of arguments that many functions share. Each raises a ValueError that names the argument and its value."""

from __future__ import annotations


def check_confidence(confidence: float) -> None:
    """Check that a confidence level is between 0 and 1, both excluded.

    >>> check_confidence(1.2)
    Traceback (most recent call last):
    ...
    ValueError: confidence must be between 0 and 1, got 1.2
    """
    check_open_unit_interval(confidence=confidence)


def check_open_unit_interval(**arguments: float) -> None:
    """Check that every argument, given by its name, is between 0 and 1, both excluded.

    >>> check_open_unit_interval(quantile=0)
    Traceback (most recent call last):
    ...
    ValueError: quantile must be between 0 and 1, got 0
    """
    for name, value in arguments.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must be between 0 and 1, got {value}")


def check_unit_interval(**arguments: float) -> None:
    """Check that every argument, given by its name, is between 0 and 1, both included.

    >>> check_unit_interval(limit=1.5)
    Traceback (most recent call last):
    ...
    ValueError: limit must be between 0 and 1 inclusive, got 1.5
    """
    for name, value in arguments.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be between 0 and 1 inclusive, got {value}")


def check_positive(**arguments: float) -> None:
    """Check that every argument, given by its name, is greater than 0.

    >>> check_positive(width=-1)
    Traceback (most recent call last):
    ...
    ValueError: width must be positive, got -1
    """
    for name, value in arguments.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")


def check_not_negative(**arguments: float) -> None:
    """Check that every argument, given by its name, is at least 0.

    >>> check_not_negative(margin=-0.1)
    Traceback (most recent call last):
    ...
    ValueError: margin must not be negative, got -0.1
    """
    for name, value in arguments.items():
        if not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value}")


def check_power(false_alarm_rate: float, power: float) -> None:
    """Check that error rates are between 0 and 1, and that the power is greater than the false alarm rate.

    >>> check_power(false_alarm_rate=0.9, power=0.8)
    Traceback (most recent call last):
    ...
    ValueError: power must be greater than false_alarm_rate, got power=0.8 and false_alarm_rate=0.9
    """
    check_open_unit_interval(false_alarm_rate=false_alarm_rate, power=power)
    if power <= false_alarm_rate:
        raise ValueError(
            f"power must be greater than false_alarm_rate, got power={power} and false_alarm_rate={false_alarm_rate}"
        )
