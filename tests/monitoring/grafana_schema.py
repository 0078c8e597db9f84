"""Whether JSON is what Grafana's own types of dashboards and alerts allow, in the version of Grafana that the SDK in
requirements.txt is made for (github.com/grafana/grafana-foundation-sdk, generated from Grafana's schemas)."""

import enum
import json
import typing
from collections.abc import Iterator
from types import UnionType

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

register_default_plugins()

UNITS = {value for name, value in vars(units).items() if not name.startswith("_") and isinstance(value, str)}


def problems(model: dict, kind: type = Dashboard) -> list[str]:
    """What Grafana does not know, or knows of another type."""
    name = kind.__name__.lower()
    try:
        read = kind.from_json(model)
    except (ValueError, KeyError, TypeError) as error:
        return [f"not a {name}: {error}"]
    written = json.loads(json.dumps(read, cls=JSONEncoder))
    return [*lost(model, written, name), *mistyped(read, name)]


def lost(given: object, written: object, place: str) -> Iterator[str]:
    """What the types have no place for."""
    if isinstance(given, dict) and isinstance(written, dict):
        for name, value in given.items():
            if name in written:
                yield from lost(value, written[name], f"{place}.{name}")
            else:
                yield f"{place}.{name}: unknown"
    elif isinstance(given, list) and isinstance(written, list) and len(given) == len(written):
        for index, (left, right) in enumerate(zip(given, written, strict=True)):
            yield from lost(left, right, f"{place}[{index}]")
    elif given != written:
        yield f"{place}: {given!r} became {written!r}"


def mistyped(read: object, place: str) -> Iterator[str]:
    """Values that are not of the type that their field has: reading does not check them."""
    for name, annotation in typing.get_type_hints(type(read)).items():
        value = getattr(read, name)
        if not fits(value, annotation):
            yield f"{place}.{name}: {value!r} is not {annotation}"
        yield from inside(value, f"{place}.{name}")


def inside(value: object, place: str) -> Iterator[str]:
    if isinstance(value, list | dict):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from inside(item, f"{place}[{key}]")
    elif hasattr(value, "to_json") and not isinstance(value, enum.Enum):
        yield from mistyped(value, place)


def fits(value: object, annotation: object) -> bool:
    """Whether a value is of a type, lists and unions included."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, UnionType):
        return any(fits(value, each) for each in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(fits(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(item, arguments[1]) for item in value.values())
    if annotation is typing.Any or annotation is object:
        return True
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if issubclass(annotation, enum.Enum):
        return value in [member.value for member in annotation]
    if isinstance(value, dict) and hasattr(annotation, "from_json"):  # Left as it was, inside some lists.
        part = annotation.from_json(value)
        return not [*lost(value, json.loads(json.dumps(part, cls=JSONEncoder)), ""), *mistyped(part, "")]
    return isinstance(value, annotation)
