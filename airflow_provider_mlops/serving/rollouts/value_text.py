"""Values as text, in the form in which users write labels, classes and members of a cohort."""

from __future__ import annotations

import json
from typing import Any


def as_text(value: Any) -> str:
    """Return a value as text.

    >>> as_text("yes"), as_text(1), as_text(True)
    ('yes', '1', 'true')
    """
    return value if type(value) is str else json.dumps(value)
