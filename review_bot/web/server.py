"""How uvicorn serves the bot."""

import uvicorn
from starlette.types import ASGIApp

SHUTDOWN_SECONDS = 3
"""Long looks that wait for a change are cut off then."""

MAX_CONNECTIONS = 1000


def config(app: ASGIApp, host: str, port: int) -> uvicorn.Config:
    """Return uvicorn's settings: no server version, logs through `review_bot.logs`, an end that does not wait long.

    Args:
        app: What `make_app` gives.
        host: The address to listen on.
        port: The TCP port; 0 for any that is free.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=MAX_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
