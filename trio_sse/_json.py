"""Values as JSON: those of Python, and models that write themselves."""

import json
from typing import Any


def is_model(value: object) -> bool:
    """Tell whether a value writes its own JSON, as a model of pydantic does."""
    return hasattr(type(value), "model_dump_json")


def write_json(value: Any) -> str:
    """Return a value as JSON: compact, not ASCII-only, and refusing NaN.

    A model decides for itself how it is written, wherever in the value it is.

    Raises:
        TypeError: for a value that is not JSON.
        ValueError: for NaN or an infinity.
    """
    if is_model(value):
        text: str = value.model_dump_json()
        return text
    return json.dumps(
        value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_values_of
    )


def _values_of(value: Any) -> object:
    if not is_model(value):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return json.loads(value.model_dump_json())
