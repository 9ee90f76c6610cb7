"""A message that no program of the service sends is set aside, and the work behind it is done."""

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from mernet.worker.app import CLASSIFY, LISTING, make_app
from mernet.worker.embedded_urls import embedded_broker_url
from mernet.worker.settings import Settings

QUICK = {"MERNET_CHUNK_SIZE": "8", "MERNET_LEASE_SECONDS": "5", "MERNET_SWEEP_SECONDS": "1"}
LONGEST_LINE = 5000
SET_ASIDE = "was set aside"
KEPT = "mernet.set-aside"
UNACKED = "unacked"


@pytest.fixture
def service(make_service):
    made = make_service(**QUICK)
    made.succeed("services", "start")
    return made


@pytest.fixture
def broker(service) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(service.folder / "redis" / "redis.sock")) as client:
        yield client


@pytest.fixture
def whole(service, broker) -> dict[str, Any]:
    """A message as the service sends it, for a chunk that does not exist."""
    app = make_app(
        Settings(data_dir=service.folder, broker_url=embedded_broker_url(service.folder))
    )
    app.send_task("mernet.classify_chunk", args=(1000, 1000))
    (sent,) = broker.lrange(CLASSIFY, 0, -1)
    broker.delete(CLASSIFY)
    return json.loads(sent)


def encoded(body: str | bytes) -> str:
    return base64.b64encode(body if isinstance(body, bytes) else body.encode()).decode()


def with_body(whole: dict[str, Any], body: object) -> dict[str, Any]:
    return whole | {"body": encoded(body if isinstance(body, str | bytes) else json.dumps(body))}


def with_arguments(whole: dict[str, Any], *arguments: object) -> dict[str, Any]:
    return with_body(whole, [arguments, {}, {}])


def with_header(whole: dict[str, Any], **changes: object) -> dict[str, Any]:
    return whole | {"headers": whole["headers"] | changes}


def with_property(whole: dict[str, Any], **changes: object) -> dict[str, Any]:
    return whole | {"properties": whole["properties"] | changes}


def without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def not_messages() -> list[bytes]:
    return [
        b"{}",
        b"[]",
        b"null",
        b"7",
        b'"text"',
        b"",
        b"not JSON",
        b"\xff\x00\xfe",
        b"\x1b[31mred\r\n\x00",
        b"1" * 6000,
        b"x" * 3_000_000,
        nested(200_000).encode(),
    ]


def not_envelopes(whole: dict[str, Any]) -> list[object]:
    properties = whole["properties"]
    return [
        *(without(whole, name) for name in ("body", "headers", "properties")),
        *(whole | {name: None} for name in ("body", "headers", "properties")),
        *(with_property(whole, delivery_tag=tag) for tag in (None, 7, [])),
        *(with_property(whole, delivery_info=info) for info in (None, {}, [], "classify")),
        whole | {"properties": without(properties, "delivery_info")},
        with_property(whole, body_encoding="rot13"),
        whole | {"body": "not base64!"},
        whole | {"body": {"a": 1}},
        whole | {"content-type": "application/x-python-serialize"},
        whole | {"content-type": None},
        whole | {"content-encoding": "no such encoding"},
        whole | {"headers": {}},
        whole | {"headers": {"\x1b[2J": "\n" * 500}},
    ]


def not_tasks(whole: dict[str, Any]) -> list[object]:
    return [
        with_body(whole, "{}"),
        with_body(whole, "null"),
        with_body(whole, "not JSON"),
        with_body(whole, b"\x80\x04\x95pickle."),
        with_body(whole, nested(100_000)),
        with_body(whole, [[1, 1], {}, {}] * 2),
        with_body(whole, [[1, 1], {"run_id": 1}, {}]),
        with_body(whole, [[1, 1], {}, {"callbacks": [{"task": "mernet.ingest"}]}]),
        with_body(whole, {"args": [1, 1]}),
        with_body(whole, "x" * 1_000_000),
        *(
            with_arguments(whole, *arguments)
            for arguments in (
                (),
                (1,),
                (1, 1, 1),
                ("1", "1"),
                (None, None),
                (1.5, 1),
                (True, True),
                ([1], {"a": 1}),
                (-1, 1),
                (1, 0),
                (2**31, 1),
                (2**70, 10**4000),
            )
        ),
        with_body(whole, "[[NaN, Infinity], {}, {}]"),
        *(with_header(whole, task=task) for task in (None, 7, "", "os.system", "\x1b]0;x\x07")),
        *(with_header(whole, id=name) for name in (None, 7, "", "x" * 5000, "a\nb", ["a"])),
        {**whole, "headers": without(whole["headers"], "id")},
        {**whole, "headers": without(whole["headers"], "task")},
    ]


def never_matters(whole: dict[str, Any]) -> list[object]:
    """The service's own, but for what it does not use, or of a run that there is not."""
    return [
        with_arguments(whole, 2**31 - 1, 2**31 - 1),
        with_header(whole, eta="no time", expires="no time", retries="x", timelimit=7, group={}),
        with_header(whole, argsrepr="x" * 10_000, kwargsrepr=None, stamps={"a": [1]}),
    ]


def as_bytes(message: object) -> bytes:
    return message if isinstance(message, bytes) else json.dumps(message).encode()


KINDS: dict[str, Callable[[dict[str, Any]], list[Any]]] = {
    "not messages": lambda _: not_messages(),
    "not envelopes": not_envelopes,
    "not tasks": not_tasks,
}


def set_aside(service) -> list[str]:
    return [line for line in service.log().splitlines() if SET_ASIDE in line]


def is_consumed(broker: redis.Redis) -> bool:
    return not any(
        (broker.llen(LISTING), broker.llen(CLASSIFY), broker.hlen(UNACKED)),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_messages_are_set_aside_once_and_the_work_behind_them_is_done(
    kind, service, broker, whole, archive_url
):
    malformed = [as_bytes(each) for each in KINDS[kind](whole)]
    with service.worker("--processes", "1") as worker:
        service.wait_for("the worker", lambda: "ready." in service.log())
        for number, message in enumerate(malformed):
            broker.lpush((LISTING, CLASSIFY)[number % 2], message)
        for message in never_matters(whole):
            broker.lpush(CLASSIFY, as_bytes(message))
        queue_run(service, archive_url)
        service.wait_for("the end of the run", lambda: run_states(service) == [("finished",)])
        service.wait_for("the last message", lambda: is_consumed(broker))
        assert worker.poll() is None

    assert service.log().count("ready.") == 1, "the worker was not started again"
    assert len(set_aside(service)) == len(malformed)
    assert broker.llen(KEPT) == len(malformed)
    assert all(each.decode().isprintable() for each in broker.lrange(KEPT, 0, -1))
    assert all(line.isprintable() and len(line) < LONGEST_LINE for line in set_aside(service))
    assert "Traceback" not in service.log()
    assert service.json("reconcile")["ok"]


def test_of_the_messages_set_aside_the_newest_hundred_are_kept(service, broker):
    with service.worker("--processes", "1"):
        for number in range(150):
            broker.lpush(LISTING, json.dumps({"number": number}))
        service.wait_for("the last message", lambda: len(set_aside(service)) == 150)
    kept = broker.lrange(KEPT, 0, -1)
    assert len(kept) == 100
    assert b"149" in kept[0]


def queue_run(service, url: str) -> None:
    service.succeed(
        "run", "full", "--archive", f"{url}mer1po_0xxx/", "--archive", f"{url}mer2po_0xxx/"
    )


def run_states(service) -> list[tuple[Any, ...]]:
    return service.rows("SELECT state FROM run")
