"""What an expression of PromQL asks for, by the parser of the crate promql-parser."""

from collections.abc import Iterator

import promql_parser
from promql_parser import Expr, VectorSelector


def metrics(expression: str) -> set[str]:
    """The names of the metrics that an expression selects. A selector without a name is an error."""
    found = set()
    for selector in selectors(promql_parser.parse(expression)):
        if not selector.name:
            raise ValueError(f"a selector of {expression!r} names no metric")
        found.add(selector.name)
    return found


def selectors(node: Expr) -> Iterator[VectorSelector]:
    """All selectors of an expression."""
    if isinstance(node, VectorSelector):
        yield node
        return
    for child in ("vector_selector", "expr", "param", "lhs", "rhs"):
        inner = getattr(node, child, None)
        if inner is not None:
            yield from selectors(inner)
    for argument in getattr(node, "args", []):
        yield from selectors(argument)
