"""A server that answers late, for tests in a browser."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def requests_held(page: Any, *addresses: str) -> Iterator[None]:
    """Let requests to these addresses reach the server only when the block ends; there are some."""
    held: list[Any] = []
    is_open = False

    def pass_or_hold(route: Any) -> None:
        if is_open:
            route.continue_()
        else:
            held.append(route)

    for address in addresses:
        page.route(address, pass_or_hold)
    yield
    assert held
    is_open = True
    for route in held:
        route.continue_()
