"""The log's lines name their context in both formats."""

import json
import logging
import threading
from collections.abc import Iterator

import pytest
from celery.app import trace

from mernet.worker import logs
from mernet.worker.heartbeat import Heartbeat

log = logging.getLogger("mernet.worker.pipeline")


@pytest.fixture
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def log_lines(as_before: None, capsys: pytest.CaptureFixture[str]):
    """Configure the log in a form; afterwards gives its lines."""

    def configure(form: logs.LogFormat, level: str = "INFO"):
        logs.configure(level, form)
        return lambda: capsys.readouterr().err.splitlines()

    return configure


def test_a_line_names_run_chunk_and_product_inside_their_context(log_lines) -> None:
    lines = log_lines("json")
    with logs.log_context(run=3, chunk=17):
        with logs.log_context(product="1P1"):
            log.info("fetched")
        log.info("published")
    log.info("idle")
    fetched, published, idle = map(json.loads, lines())
    assert (fetched["run"], fetched["chunk"], fetched["product"]) == (3, 17, "1P1")
    assert (published["run"], published["chunk"]) == (3, 17)
    assert "product" not in published
    assert set(idle) == {"time", "level", "logger", "message"}


def test_text_is_one_line_with_keys_and_values(log_lines) -> None:
    lines = log_lines("text")
    with logs.log_context(run=3, chunk=17):
        log.warning("split in %s", "two")
    [line] = lines()
    assert line.endswith("WARNING mernet.worker.pipeline run=3 chunk=17: split in two")


def test_a_traceback_stays_in_its_json_line(log_lines) -> None:
    lines = log_lines("json")
    try:
        raise ValueError("bad\nnews")
    except ValueError:
        log.exception("it failed")
    [line] = lines()
    assert "ValueError: bad\nnews" in json.loads(line)["error"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_text_from_outside_stays_in_one_line_and_is_short(log_lines, form) -> None:
    lines = log_lines(form)
    with logs.log_context(product="1P\n\x1b"):
        log.warning("product failed: %s", "gone\nERROR forged\x1b[2J\0\u202e" + "a" * 400_000)
    [line] = lines()
    message = json.loads(line)["message"] if form == "json" else line
    assert r"gone\nERROR forged\x1b[2J\x00\u202e" in message
    assert line.isprintable()
    assert len(line) < 3_000


def test_a_traceback_in_text_forges_no_line(log_lines) -> None:
    lines = log_lines("text")
    try:
        raise ValueError("bad\n2026-01-01 ERROR forged\x1b[2J")
    except ValueError:
        log.exception("it failed")
    first, *traceback = lines()
    assert first.endswith("it failed")
    assert all(line.startswith(logs.INDENT) and line.isprintable() for line in traceback)
    assert traceback[-1].strip() == r"2026-01-01 ERROR forged\x1b[2J"


def test_lines_below_the_level_are_left_out(log_lines) -> None:
    lines = log_lines("text", "WARNING")
    log.info("chatter")
    assert lines() == []


def celery_succeeds(task: str) -> None:
    trace.info(
        trace.LOG_SUCCESS, {"name": task, "id": "1", "return_value": "'done'", "runtime": 0.1}
    )


def test_that_a_routine_task_ended_well_is_left_out_and_its_failure_is_not(log_lines) -> None:
    lines = log_lines("text")
    for task in ("mernet.probe", "mernet.classify_chunk"):
        celery_succeeds(task)
    [line] = lines()
    assert "Task mernet.classify_chunk[1] succeeded" in line
    trace.logger.error("it failed", extra={"data": {"name": "mernet.probe"}})
    [line] = lines()
    assert "it failed" in line


def test_the_heartbeat_logs_with_its_caller_s_context(log_lines) -> None:
    lines = log_lines("json")
    beaten = threading.Event()

    def beat() -> bool:
        log.info("beat")
        beaten.set()
        return False

    with logs.log_context(run=3), Heartbeat(beat, 0.001):
        assert beaten.wait(10)
    assert json.loads(lines()[0])["run"] == 3
