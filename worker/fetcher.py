"""Creates the archive fetcher that the settings describe."""

from collections.abc import Callable

from mernet.pds.fetch import Fetcher, user_agent
from mernet.worker.settings import Settings


def create_fetcher(
    config: Settings, on_retry: Callable[[str, float], None] = lambda _, __: None
) -> Fetcher:
    """Create the fetcher of a process; how many connections it may use is leased for each work.

    Before each retry, `on_retry` is called with the error's message and the seconds to wait.
    """
    return Fetcher(
        user_agent(config.contact),
        connections_per_host=config.connections_per_host,
        total_seconds=config.fetch_timeout,
        max_bytes=config.max_image_bytes,
        attempts=config.fetch_attempts,
        redirect_hosts=config.redirect_hosts,
        on_retry=on_retry,
    )
