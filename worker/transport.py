"""kombu's Redis transport, which sets aside what kombu cannot receive instead of failing."""

from typing import Any

from kombu.transport import TRANSPORT_ALIASES, redis

from mernet.worker.messages import Malformed, check_envelope, set_aside


class Channel(redis.Channel):
    """Receives only what is JSON."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested too deeply
            with self.conn_or_acquire() as client:
                set_aside(client, "?", getattr(error, "doc", ""), error)
            return None


class Transport(redis.Transport):
    """Delivers only messages that can be read and acknowledged."""

    Channel = Channel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            check_envelope(message)
        except Malformed as fault:
            with self.channels[0].conn_or_acquire() as client:
                set_aside(client, queue, message, fault)
            return
        super()._deliver(message, queue)  # type: ignore[no-untyped-call]


def use_for_redis() -> None:
    """Use this transport for all Redis URLs of this process.

    kombu finds a transport by the scheme of the URL; for Redis on a Unix socket, it ignores the
    setting that would name another one.
    """
    name = f"{Transport.__module__}:{Transport.__qualname__}"
    TRANSPORT_ALIASES.update(redis=name, rediss=name)
