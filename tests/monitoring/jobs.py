"""The jobs of the Prometheus of these tests."""

from demo.aws import FUNCTION

OPEN = FUNCTION
"""A function that everybody may scrape."""
CLOSED = f"{FUNCTION}-closed"
"""One of which nobody has said who may scrape it, so that it answers 401."""
