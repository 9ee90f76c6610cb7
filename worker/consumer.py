"""Celery's consumer, which gets only the service's own messages."""

from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger
from celery.worker import consumer

from mernet.worker.messages import Malformed, clean_headers, set_aside

logger = get_logger(__name__)


class Consumer(consumer.Consumer):  # type: ignore[misc]  # Celery has no types
    """Acknowledges every other message and sets it aside, so that none is delivered again."""

    def create_task_handler(self, *args: Any, **options: Any) -> Callable[[Any], None]:
        """Return the function that Celery calls for each message."""
        handle = super().create_task_handler(*args, **options)

        def handle_ours(message: Any) -> None:
            try:
                message.headers = clean_headers(
                    message.headers, message.body, message.content_type, message.content_encoding
                )
            except Malformed as fault:
                with message.channel.conn_or_acquire() as client:
                    set_aside(client, _queue(message), message._raw, fault)
                message.ack_log_error(logger, self.connection_errors)
                return
            handle(message)

        return handle_ours


def _queue(message: Any) -> str:
    return str(message.delivery_info.get("routing_key"))
