"""Faults of the database and of a machine: work waits, uncounted, and continues when they pass."""

import errno
import platform
from contextlib import suppress

import numpy as np
import pytest
import sqlalchemy as sa
from tenacity import wait_none

import mernet.db.engine
from fixtures.products import write_pds3_product
from mernet.db import ledger, obstacles
from mernet.db.engine import transaction
from mernet.db.errors import ConnectionFailed
from mernet.db.ledger import NewRun
from mernet.model.errors import DeviceError, OutOfDeviceMemoryError
from mernet.pds.errors import FetchError, TransferError
from mernet.pds.fetch import Transfers
from mernet.pds.image import Frame
from mernet.worker.errors import ListingTooLarge
from mernet.worker.listing import WORKERS_LOST, record_products
from mernet.worker.pipeline import Pipeline

GOOD = b"PDS_VERSION_ID = PDS3\0"

DEVICE_FAULTS = [
    RuntimeError("CUDA error: device-side assert triggered"),
    RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("No CUDA GPUs are available"),
    RuntimeError("Found no NVIDIA driver on your system."),
    RuntimeError("Unable to determine the device handle: the GPU has fallen off the bus"),
    DeviceError("CUDA device cuda:0 is not available; use cpu, or check nvidia-smi"),
    OutOfDeviceMemoryError("one image does not fit the device's memory"),
]
MACHINE_FAULTS = [
    MemoryError(),
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    OSError(errno.EMFILE, "Too many open files"),
    OSError(errno.ENFILE, "Too many open files in system"),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']"),
    RuntimeError("can't start new thread"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
]


def caused_by(error, cause):
    error.__cause__ = cause
    return error


class Archive:
    """An archive of good images, and what is to happen at each transfer."""

    transfers = Transfers()
    connections_per_host = 8

    def __init__(self):
        self.happens = lambda url: None

    def fetch(self, url):
        self.happens(url)
        return GOOD

    fetch_once = fetch

    def reconnect(self):
        """There are no connections."""

    def open(self, url):
        self.happens(url)


class Classifier:
    batch_size = 8

    def __init__(self):
        self.happens = lambda: None

    def probabilities(self, renderings):
        self.happens()
        return np.full((len(renderings), 25), 0.5, np.float32)


class Decoder:
    """Decodes every image; `happens` is called with its name first."""

    def __init__(self):
        self.happens = lambda name: None

    def __call__(self, data, name, label=None):
        self.happens(name)
        return Frame(np.arange(1024 * 1024, dtype=np.uint32).reshape(1024, 1024), None)


@pytest.fixture
def archive():
    return Archive()


@pytest.fixture
def classifier():
    return Classifier()


@pytest.fixture
def decoder(monkeypatch):
    decoder = Decoder()
    monkeypatch.setattr("mernet.worker.product_images.decode", decoder)
    return decoder


@pytest.fixture
def pauses():
    return []


@pytest.fixture
def replaced():
    return []


@pytest.fixture(autouse=True)
def repeated_at_once(monkeypatch):
    """Transactions are repeated without a pause."""
    at_once = mernet.db.engine._RETRYING.copy(wait=wait_none())
    monkeypatch.setattr(mernet.db.engine, "_RETRYING", at_once)


@pytest.fixture
def make_pipeline(story, archive, classifier, decoder, pauses, replaced):
    """A pipeline of a process of its own."""

    def make(load_classifier=lambda sha256: classifier):
        return Pipeline(
            story.engine,
            archive,
            load_classifier,
            threads=2,
            lease_seconds=600,
            max_attempts=2,
            pause=pauses.append,
            replace_process=lambda: replaced.append("process"),
        )

    return make


@pytest.fixture
def pipeline(make_pipeline):
    return make_pipeline()


def raising(error):
    def happens(*_):
        raise error

    return happens


def chunks(story):
    return story.rows("SELECT state, attempts FROM chunk ORDER BY number")


def now_due(story):
    story.execute("UPDATE obstacle SET next_try_at = now()")


def still_met(story):
    return story.rows("SELECT kind, subject FROM obstacle WHERE cleared_at IS NULL")


def assert_waits_then_goes_on(story, pipeline, kind, undo):
    """A chunk waits however often it is tried, and is classified when the fault has passed."""
    run_id = story.rows("SELECT max(run_id) FROM run")[0][0]
    for attempt in range(3):
        done = pipeline.work_on(run_id, 1, f"worker {attempt}")
        assert f"for the {kind}" in done.summary
        assert chunks(story) == [("ready", 0)]
        now_due(story)
    [found] = obstacles.current(story.engine)
    assert (found.kind, found.run_ids) == (kind, (run_id,))
    assert story.rows("SELECT * FROM outcome") == []
    undo()
    assert pipeline.work_on(run_id, 1, "at last").summary == "2 classified"
    assert obstacles.current(story.engine) == []
    assert ledger.get_run(story.engine, run_id).state == "finished"


@pytest.mark.parametrize("fault", DEVICE_FAULTS, ids=str)
def test_a_device_that_fails_makes_its_host_leave_chunks_to_others(
    story, pipeline, classifier, replaced, fault
):
    story.listed(count=2)
    healthy, classifier.happens = classifier.happens, raising(fault)
    assert_waits_then_goes_on(
        story, pipeline, "device", lambda: setattr(classifier, "happens", healthy)
    )
    assert len(replaced) == 3, "a process cannot use the device again"


@pytest.mark.parametrize("fault", DEVICE_FAULTS[-3:], ids=str)
def test_a_device_on_which_no_classifier_can_be_loaded_is_no_fault_of_the_checkpoint(
    story, make_pipeline, classifier, fault
):
    story.listed(count=2)
    broken = [fault]

    def load(sha256):
        if broken:
            raise broken[0]
        return classifier

    assert_waits_then_goes_on(story, make_pipeline(load), "device", broken.clear)


@pytest.mark.parametrize(
    ("place", "fault"),
    [("decoder", fault) for fault in MACHINE_FAULTS]
    + [(place, fault) for place in ("classifier", "archive") for fault in MACHINE_FAULTS[:2]],
    ids=str,
)
def test_a_machine_that_lacks_something_leaves_chunks_to_others_wherever_it_is_noticed(
    request, story, pipeline, place, fault
):
    story.listed(count=2)
    where = request.getfixturevalue(place)
    healthy, where.happens = where.happens, raising(fault)
    assert_waits_then_goes_on(
        story, pipeline, "machine", lambda: setattr(where, "happens", healthy)
    )


@pytest.mark.parametrize(
    "fault",
    [
        caused_by(TransferError("the transfer broke"), OSError(errno.EMFILE, "Too many files")),
        caused_by(FetchError("it cannot be stored"), OSError(errno.ENOSPC, "No space left")),
    ],
)
def test_a_transfer_that_this_machine_made_fail_is_no_fault_of_the_archive(
    story, pipeline, archive, fault
):
    story.listed(count=2)
    healthy, archive.happens = archive.happens, raising(fault)
    assert_waits_then_goes_on(
        story, pipeline, "machine", lambda: setattr(archive, "happens", healthy)
    )


def test_a_product_that_alone_asks_for_too_much_memory_fails_and_the_others_are_classified(
    story, pipeline, decoder, product
):
    eater = product(1).product_id

    def happens(name):
        if name == eater:
            raise MemoryError

    decoder.happens = happens
    done = pipeline.work_on(story.listed(count=4), 1, "worker")
    assert done.summary == "3 classified, 1 failed (internal error)"
    assert obstacles.current(story.engine) == []


@pytest.mark.parametrize(
    "code", ["53100", "53200", "53300", "53400", "25006", "40P01", "40001", "57P01", "57P03",
             "58030", "XX001"]
)  # fmt: skip
def test_an_attempt_that_the_database_server_made_fail_does_not_count(
    story, pipeline, monkeypatch, code
):
    story.listed(count=2)

    @transaction
    def publish(connection, *args):
        connection.exec_driver_sql(f"DO $$ BEGIN RAISE SQLSTATE '{code}'; END $$")

    patched = pytest.MonkeyPatch()
    patched.setattr("mernet.worker.pipeline.publish_chunk", publish)
    assert_waits_then_goes_on(story, pipeline, "database", patched.undo)


def test_an_attempt_that_its_data_made_fail_counts(story, pipeline, monkeypatch):
    run_id = story.listed(count=2)

    @transaction
    def publish(connection, *args):
        connection.exec_driver_sql("SELECT array_fill(0, ARRAY[100000, 100000])")

    monkeypatch.setattr("mernet.worker.pipeline.publish_chunk", publish)
    with pytest.raises(sa.exc.DBAPIError, match="array size exceeds"):
        pipeline.work_on(run_id, 1, "worker")
    assert chunks(story) == [("ready", 1)]
    assert obstacles.current(story.engine) == []


@pytest.mark.parametrize(
    ("statement", "cause", "remedy"),
    [
        (
            "DO $$ BEGIN RAISE SQLSTATE '42501' USING HINT = 'ask',"
            " MESSAGE = 'permission denied for table outcome'; END $$",
            "permission denied for table outcome",
            "grant it",
        ),
        ("SELECT no_such_column FROM outcome", 'column "no_such_column" does not exist', "upgrade"),
        ("SELECT * FROM no_such_table", 'relation "no_such_table" does not exist', "upgrade"),
        (
            "DO $$ BEGIN RAISE SQLSTATE '57014' USING MESSAGE = 'canceling statement'; END $$",
            "canceling statement",
            "read the server's log",
        ),
        (
            "DO $$ BEGIN RAISE SQLSTATE 'XX001' USING MESSAGE = 'invalid page in block 3'; END $$",
            "invalid page in block 3",
            "read its log",
        ),
    ],
    ids=["right", "column", "table", "cancelled", "damage"],
)
def test_the_reason_names_what_the_database_refuses_and_no_statement(
    story, pipeline, monkeypatch, statement, cause, remedy
):
    @transaction
    def publish(connection, *args):
        connection.exec_driver_sql(statement)

    monkeypatch.setattr("mernet.worker.pipeline.publish_chunk", publish)
    assert "for the database" in pipeline.work_on(story.listed(count=2), 1, "worker").summary
    [found] = obstacles.current(story.engine)
    assert cause in found.reason
    assert remedy in found.reason
    for noise in ("SQL", "SELECT", "RAISE", "HINT", "LINE", "sqlalche.me", "psycopg2", "\\n"):
        assert noise not in found.reason
    assert chunks(story) == [("ready", 0)]


def test_the_database_may_fail_while_a_product_is_read(story, pipeline, archive):
    story.listed(count=2)
    healthy, archive.happens = archive.happens, raising(ConnectionFailed("no answer"))
    assert_waits_then_goes_on(
        story, pipeline, "database", lambda: setattr(archive, "happens", healthy)
    )


def test_whoever_publishes_shows_that_the_database_is_fine(story, pipeline, archive):
    run_id = story.listed(count=8)
    assert pipeline.work_on(run_id, 1, "before").summary == "4 classified"
    healthy, archive.happens = archive.happens, raising(ConnectionFailed("no answer"))
    assert "for the database" in pipeline.work_on(run_id, 2, "during").summary
    archive.happens = healthy
    now_due(story)
    assert pipeline.work_on(run_id, 2, "after").summary == "4 classified"
    assert still_met(story) == []


def test_a_database_that_another_process_has_just_met_is_shown_to_be_fine(
    story, make_pipeline, archive
):
    lucky, unlucky = make_pipeline(), make_pipeline()
    run_id = story.listed(count=12)
    assert lucky.work_on(run_id, 1, "lucky").summary == "4 classified"
    healthy, archive.happens = archive.happens, raising(ConnectionFailed("no answer"))
    assert "for the database" in unlucky.work_on(run_id, 2, "unlucky").summary
    archive.happens = healthy
    now_due(story)
    assert lucky.work_on(run_id, 3, "lucky again").summary == "4 classified"
    assert still_met(story) == []


@pytest.fixture
def refuses(story):
    """Lets the database refuse writes to tables, as if its disk were full, while the test runs."""
    refused = []

    def refuse(table, event="INSERT OR UPDATE"):
        refused.append(table)
        story.execute(
            f"CREATE FUNCTION refuse_{table}() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RAISE SQLSTATE ''53100'' USING MESSAGE = ''could not extend file''; END';"
            f"CREATE TRIGGER refuse BEFORE {event} ON {table}"
            f" FOR EACH ROW EXECUTE FUNCTION refuse_{table}()"
        )

    def accept():
        while refused:
            story.execute(f"DROP FUNCTION refuse_{refused.pop()} CASCADE")

    refuse.again = accept
    yield refuse
    accept()


def test_a_disk_with_room_for_the_chunk_but_not_for_the_obstacle(story, pipeline, refuses, pauses):
    run_id = story.listed(count=2)
    refuses("outcome")
    refuses("obstacle")
    for attempt in range(3):
        assert "waits" in pipeline.work_on(run_id, 1, f"worker {attempt}").summary
        assert chunks(story) == [("ready", 0)]
        assert len(pauses) == attempt + 1, "it is not tried again at once"
    refuses.again()
    assert pipeline.work_on(run_id, 1, "at last").summary == "2 classified"


def test_a_chunk_is_given_back_as_soon_as_the_database_can_be_written(
    story, pipeline, refuses, pauses
):
    run_id = story.listed(count=1)

    def full(*_):
        refuses("chunk", "UPDATE")
        refuses("obstacle")
        raise ConnectionFailed("no room left")

    class SpaceAtLast(list):
        def append(self, seconds):
            super().append(seconds)
            if len(self) == 3:
                refuses.again()

    waits = SpaceAtLast()
    object.__setattr__(pipeline, "pause", waits.append)
    pipeline.source.happens = full
    assert "for the database" in pipeline.work_on(run_id, 1, "worker").summary
    assert len(waits) == 3
    assert chunks(story) == [("ready", 0)]


def test_an_attempt_does_not_count_if_another_worker_took_over_while_the_database_was_away(
    story, pipeline, archive
):
    run_id = story.listed(count=2)

    def away(url):
        story.lose_claims()
        story.claim(run_id, 1, "the successor")
        raise ConnectionFailed("no answer")

    archive.happens = away
    pipeline.work_on(run_id, 1, "worker")
    assert story.rows("SELECT claimed_by, attempts FROM chunk") == [("the successor", 1)]


def test_a_claim_whose_answer_was_lost_is_given_back(story, pipeline, monkeypatch):
    run_id = story.listed(count=2)
    claim_chunk = ledger.claim_chunk

    def lose(*args):
        claim_chunk(*args)
        raise ConnectionFailed("no answer")

    monkeypatch.setattr(ledger, "claim_chunk", lose)
    pipeline.work_on(run_id, 1, "worker")
    assert chunks(story) == [("ready", 0)]


def test_a_claim_that_the_database_refused_takes_no_attempt_of_others_back(
    story, pipeline, monkeypatch
):
    run_id = story.listed(count=2)
    story.execute("UPDATE chunk SET attempts = 1")
    monkeypatch.setattr(ledger, "claim_chunk", raising(ConnectionFailed("no answer")))
    pipeline.work_on(run_id, 1, "worker")
    assert chunks(story) == [("ready", 1)]


def test_an_obstacle_of_a_process_that_died_is_cleared_by_another_process_of_its_host(
    story, make_pipeline, classifier
):
    sound, broken = make_pipeline(), make_pipeline()
    run_id = story.listed(count=12)
    assert sound.work_on(run_id, 1, "sound").summary == "4 classified"
    healthy, classifier.happens = classifier.happens, raising(DEVICE_FAULTS[0])
    broken.work_on(run_id, 2, "broken")
    classifier.happens = healthy
    sound.work_on(run_id, 2, "sound")
    assert len(obstacles.current(story.engine)) == 1, "the other process may still meet it"
    story.execute("UPDATE obstacle SET last_seen_at = now() - interval '2 minutes'")
    sound.work_on(run_id, 3, "sound")
    assert obstacles.current(story.engine) == []


def test_an_obstacle_of_another_host_stays(story, pipeline):
    run_id = story.listed(count=2)
    story.execute(
        "INSERT INTO obstacle VALUES ('device', 'of elsewhere', 'broken',"
        " now() - interval '1 hour', now() - interval '1 hour', now())"
    )
    pipeline.work_on(run_id, 1, "worker")
    assert story.rows("SELECT subject FROM obstacle WHERE cleared_at IS NULL") == [
        ("of elsewhere",)
    ]


@pytest.fixture
def listed_run(story):
    """A run that is still to be listed."""
    return ledger.create_run(story.engine, NewRun(archives=("https://example.org/volume/",))).run_id


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        *(("machine", fault) for fault in MACHINE_FAULTS[1:4]),
        (
            "machine",
            caused_by(FetchError("it cannot be stored"), OSError(errno.ENOSPC, "No space left")),
        ),
        (
            "machine",
            caused_by(TransferError("it broke"), OSError(errno.EMFILE, "Too many open files")),
        ),
        ("database", ConnectionFailed("no room left")),
    ],
    ids=str,
)
def test_a_listing_that_a_fault_ends_waits_and_its_run_never_fails_for_it(
    story, listed_run, archive, kind, fault
):
    archive.happens = raising(fault)
    for attempt in range(3):
        done = record_products(story.engine, listed_run, f"lister {attempt}", archive, 600)
        assert f"for the {kind}" in done.summary
        assert story.rows("SELECT state, attempts FROM run") == [("listing", 0)]
        now_due(story)
    [found] = obstacles.current(story.engine)
    assert (found.kind, found.run_ids) == (kind, (listed_run,))


@pytest.fixture
def plenty_of_memory(monkeypatch):
    """Tells whether this machine has memory left."""
    left = [True]
    monkeypatch.setattr("mernet.worker.faults.is_memory_left", lambda: left[0])
    return left


@pytest.mark.parametrize(
    "error", [MemoryError(), caused_by(FetchError("it cannot be read"), MemoryError())], ids=str
)
def test_a_listing_that_needs_more_memory_than_there_is_ends_as_one_that_ends_its_worker(
    story, listed_run, archive, plenty_of_memory, error
):
    archive.happens = raising(error)
    for attempt in range(1, WORKERS_LOST + 1):
        with pytest.raises(ListingTooLarge, match="memory"):
            record_products(story.engine, listed_run, f"lister {attempt}", archive, 600)
        assert story.rows("SELECT state, attempts FROM run") == [("listing", attempt)]
    record_products(story.engine, listed_run, "the last", archive, 600)
    run = ledger.get_run(story.engine, listed_run)
    assert run.state == "failed"
    assert f"{WORKERS_LOST} workers ended, hung or had too little memory" in run.error


def test_an_archive_that_needs_too_much_memory_does_not_keep_the_others_from_being_listed(
    story, tmp_path, archive, plenty_of_memory
):
    eater, folder = "https://example.org/volume/", tmp_path / "images"
    folder.mkdir()
    write_pds3_product(folder)
    run_id = ledger.create_run(story.engine, NewRun(archives=(eater, str(folder)))).run_id
    archive.happens = raising(MemoryError())
    for attempt in range(WORKERS_LOST + 2):
        with suppress(ListingTooLarge):
            record_products(story.engine, run_id, f"lister {attempt}", archive, 600)
    assert story.rows("SELECT count(*) FROM run_product") == [(1,)]


def test_a_listing_waits_while_its_machine_has_no_memory(
    story, listed_run, archive, plenty_of_memory
):
    plenty_of_memory[0] = False
    archive.happens = raising(MemoryError())
    for attempt in range(WORKERS_LOST + 1):
        done = record_products(story.engine, listed_run, f"lister {attempt}", archive, 600)
        assert "for the machine" in done.summary
        now_due(story)
    assert story.rows("SELECT state, attempts FROM run") == [("listing", 0)]


def test_the_reason_names_the_machine_and_what_it_lacks(story, pipeline, classifier):
    run_id = story.listed(count=2)
    classifier.happens = raising(MACHINE_FAULTS[3])
    pipeline.work_on(run_id, 1, "worker")
    [found] = obstacles.current(story.engine)
    assert found.subject == platform.node()
    assert found.reason.startswith(f"On {platform.node()} the process has too many open files")
