"""Checks messages before they reach Celery: anything but the service's own is set aside.

Celery 5.7 and kombu 5.7 trust much of a message. Some that cannot be read end the worker, and are
delivered again when it has started again.
"""

import binascii
import json
import logging
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from redis.exceptions import RedisError

from mernet.printable import printable

log = logging.getLogger(__name__)

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "mernet.list_run": ("run",),
    "mernet.classify_chunk": ("run", "chunk"),
    "mernet.ingest": (),
    "mernet.probe": (),
}
"""The tasks of the service, and the numbers that each gets."""

LARGEST_NUMBER = 2**31 - 1
LARGEST_MESSAGE = 10_000
"""Characters of a message's body; the service's own have less than a hundred."""

SET_ASIDE = "mernet.set-aside"
"""The Redis list of the messages set aside, newest first."""

KEPT = 100
KEPT_CHARACTERS = 2000


class Malformed(ValueError):
    """A message is not one of the service's."""


def check_envelope(message: object) -> None:
    """Check the part of a message that kombu reads.

    Args:
        message: The message as it was in Redis, decoded from JSON.

    Raises:
        Malformed: If kombu could not receive or acknowledge it.
    """
    parts = _require_mapping(message, "message")
    properties = _require_mapping(parts.get("properties"), "properties")
    delivery = _require_mapping(properties.get("delivery_info"), "delivery_info")
    for where, name in ((properties, "delivery_tag"), (delivery, "exchange")):
        if not isinstance(where.get(name), str):
            raise Malformed(f"it has no {name}")
    if not isinstance(delivery.get("routing_key"), str):
        raise Malformed("it has no routing_key")
    _require_mapping(parts.get("headers"), "headers")
    _check_body(parts.get("body"), properties.get("body_encoding"))


def clean_headers(
    headers: Mapping[str, Any], body: str | bytes, content_type: object, encoding: object
) -> dict[str, Any]:
    """Check that a message is one of the service's tasks with plain numbers.

    Returns:
        The headers that Celery needs; whatever else the message had is left out, such as a time at
        which it expires.

    Raises:
        Malformed: If it is not.
    """
    task, task_id = headers.get("task"), headers.get("id")
    names = ARGUMENTS.get(task) if isinstance(task, str) else None
    if not isinstance(task, str) or names is None:
        raise Malformed(f"there is no task {task!r}")
    if not isinstance(task_id, str) or not task_id.isprintable() or not 0 < len(task_id) <= 200:
        raise Malformed("it has no id")
    if content_type != "application/json" or encoding != "utf-8":
        raise Malformed(f"it is {content_type!r} in {encoding!r}, not JSON in UTF-8")
    numbers = _read_numbers(body, names)
    about = " ".join(f"{name} {number}" for name, number in zip(names, numbers, strict=True))
    return {
        "lang": "py",
        "task": task,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": about or task.removeprefix("mernet."),
        "kwargsrepr": "{}",
    }


def set_aside(redis: Any, queue: str, message: object, fault: Exception) -> None:
    """Log once that a message is not used, and keep the beginning of it for the operator."""
    text = printable(message if isinstance(message, str) else repr(message), KEPT_CHARACTERS)
    log.error(
        "a message in the queue %s is not one of the service's and was set aside in the Redis list "
        "%s (%s): %s",
        printable(queue, 50),
        SET_ASIDE,
        printable(fault),
        printable(text),
    )
    try:
        redis.lpush(SET_ASIDE, text)
        redis.ltrim(SET_ASIDE, 0, KEPT - 1)
    except RedisError as error:
        log.warning("the message could not be kept: %s", error)


def _check_body(body: object, encoding: object) -> None:
    if not isinstance(body, str) or len(body) > LARGEST_MESSAGE:
        raise Malformed(f"its body is not a text of at most {LARGEST_MESSAGE} characters")
    if encoding not in (None, "base64"):
        raise Malformed("its body is not in base64")
    if encoding == "base64":
        try:
            b64decode(body).decode()
        except (binascii.Error, ValueError) as error:
            raise Malformed("its body is not in base64") from error


def _read_numbers(body: str | bytes, names: tuple[str, ...]) -> list[int]:
    try:
        arguments, options, embedded = json.loads(body)
    except (ValueError, TypeError, RecursionError) as error:
        raise Malformed("its body is not a list of arguments, options and callbacks") from error
    if not isinstance(arguments, list) or len(arguments) != len(names):
        raise Malformed(f"the task takes {len(names)} numbers")
    for number in arguments:
        if type(number) is not int or not 0 < number <= LARGEST_NUMBER:
            raise Malformed(f"{printable(number, 30)} is not the number of a run or chunk")
    if options != {}:
        raise Malformed("the task takes no options")
    if not isinstance(embedded, dict) or any(embedded.values()):
        raise Malformed("it has callbacks")
    return arguments


def _require_mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Malformed(f"its {name} is not an object")
    return value
