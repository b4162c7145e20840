"""What the server writes to the terminal: plain lines, and the tracebacks of real faults alone."""

import logging

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect


class NotOfClients(logging.Filter):
    """Drops tracebacks of what a client did that nobody here can mend.

    A browser that is closed during an upload (`ClientDisconnect`), and a page that asks on for the
    answers of an app that was started again: Gradio says 404 to it, but only when it has begun to
    answer, which is a fault to Starlette (Gradio 6.31, `sse_stream`).
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        error = record.exc_info[1] if record.exc_info else None
        late = isinstance(error, RuntimeError) and isinstance(error.__cause__, HTTPException)
        return not (late or isinstance(error, ClientDisconnect))


def keep_plain() -> None:
    """Write no tracebacks of what clients do."""
    logger = logging.getLogger("uvicorn.error")
    if not any(isinstance(known, NotOfClients) for known in logger.filters):
        logger.addFilter(NotOfClients())
