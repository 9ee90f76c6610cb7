"""Creates the archive fetcher that the settings describe."""

from collections.abc import Callable

from mernet.pds.fetch import Fetcher, user_agent
from mernet.worker.settings import Settings


def create_fetcher(
    config: Settings,
    processes: int = 1,
    on_retry: Callable[[str, float], None] = lambda _, __: None,
) -> Fetcher:
    """Create a fetcher for one of `processes` that share the connections to an archive host.

    Before each retry, `on_retry` is called with the error's message and the seconds to wait.
    """
    return Fetcher(
        user_agent(config.contact),
        connections_per_host=max(1, config.connections_per_host // processes),
        total_seconds=config.fetch_timeout,
        max_bytes=config.max_image_bytes,
        attempts=config.fetch_attempts,
        redirect_hosts=config.redirect_hosts,
        on_retry=on_retry,
    )
