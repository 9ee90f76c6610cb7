"""Disturbances of processes, and of runs, products and checkpoints."""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil

from faults.kinds import Generate, Random, Strikes, disturbance, require
from faults.scene import QUEUES, Scene, Worker
from mernet.db import classifiers, ledger, thresholds
from mernet.db.errors import RunClosed
from mernet.model.classes import CODES

ENDS_WITHIN = 30.0
BETWEEN_SIGNALS = 0.3


def send_signal(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _require_end(scene: Scene, processes: list[psutil.Process]) -> None:
    ended = scene.wait_until(lambda: not any(map(is_alive, processes)), ENDS_WITHIN)
    require(ended, f"{processes} goes on")


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def stop(processes: list[psutil.Process]) -> None:
    """Stop processes with SIGSTOP, and check that they are."""
    require(processes, "there is no process to stop")
    send_signal(processes, signal.SIGSTOP)
    time.sleep(0.05)
    for process in processes:
        require(process.status() == psutil.STATUS_STOPPED, f"{process} is not stopped")


def _child_gets(number: int) -> Generate:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        children = scene.children(random.choice(scene.workers))
        require(children, "the worker has no child process")
        chosen = [random.choice(children)]
        send_signal(chosen, number)
        yield
        _require_end(scene, chosen)

    return inflict


def _worker_gets(number: int, times: int = 1) -> Generate:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        worker = random.choice(scene.workers)
        before = psutil.Process(worker.process.pid)
        _send_times([before], number, times)
        yield
        _require_end(scene, [before])

    return inflict


def _scheduler_gets(number: int, times: int = 1) -> Generate:
    """Messages are lost too: only a sweep sends them again."""

    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        before = scene.scheduler()
        require(before, "there is no scheduler")
        _send_times(before, number, times)
        scene.redis.flushall()
        yield
        _require_end(scene, before)

    return inflict


def _send_times(processes: list[psutil.Process], number: int, times: int) -> None:
    for nth in range(times):
        if nth:
            time.sleep(BETWEEN_SIGNALS)
        send_signal(processes, number)


def _stopped(choose: Callable[[Scene, Worker], list[psutil.Process]]) -> Generate:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        stopped = choose(scene, random.choice(scene.workers))
        stop(stopped)
        yield
        send_signal(stopped, signal.SIGCONT)

    return inflict


for _number in (signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT):
    disturbance(f"{_number.name} to a child process", "processes")(_child_gets(_number))
    disturbance(f"{_number.name} to a worker", "processes")(_worker_gets(_number))
    disturbance(f"{_number.name} to the scheduler, messages lost", "processes")(
        _scheduler_gets(_number)
    )
disturbance("SIGINT twice to a worker", "processes")(_worker_gets(signal.SIGINT, times=2))
disturbance("SIGINT twice to the scheduler, messages lost", "processes")(
    _scheduler_gets(signal.SIGINT, times=2)
)
disturbance("children stopped beyond their lease (SIGSTOP)", "processes", seconds=(4, 6))(
    _stopped(lambda scene, worker: scene.children(worker))
)
disturbance("worker stopped, its children run on (SIGSTOP)", "processes", seconds=(4, 6))(
    _stopped(lambda scene, worker: [psutil.Process(worker.process.pid)])
)
disturbance("worker and children stopped (SIGSTOP)", "processes", seconds=(4, 6))(
    _stopped(lambda scene, worker: [psutil.Process(worker.process.pid), *worker.family()])
)


@disturbance("SIGINT twice to a child process", "processes")
def child_interrupted(scene: Scene, random: Random) -> Iterator[None]:
    """A child leaves Ctrl-C to its worker, which the terminal sends to both."""
    chosen = [random.choice(scene.children(random.choice(scene.workers)))]
    _send_times(chosen, signal.SIGINT, 2)
    scene.archive.release()
    yield
    require(all(map(is_alive, chosen)), "the child has ended")


@disturbance("Ctrl-C twice to a worker and its children (SIGINT)", "processes")
def interrupted_at_the_terminal(scene: Scene, random: Random) -> Iterator[None]:
    worker = random.choice(scene.workers)
    before = psutil.Process(worker.process.pid)
    processes = [before, *scene.children(worker)]
    _send_times(processes, signal.SIGINT, 2)
    yield
    _require_end(scene, [before])


@disturbance("scheduler stopped, messages lost", "processes", seconds=(4, 12))
def scheduler_stopped(scene: Scene, random: Random) -> Iterator[None]:
    """Nobody sweeps until it goes on, or its worker has replaced it."""
    stopped = scene.scheduler()
    stop(stopped)
    require(scene.redis.delete(*QUEUES), "no message waits")
    yield
    send_signal(stopped, signal.SIGCONT)


# Listing and ingest


def _lister_gets(number: int) -> Generate:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        killed = scene.listers()
        require(killed, "nobody lists")
        send_signal(killed, number)
        yield
        _require_end(scene, killed)

    return inflict


for _number in (signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT):
    disturbance(f"listing: {_number.name} to the lister", "listing", strikes=Strikes.LISTING)(
        _lister_gets(_number)
    )
    disturbance(
        f"scheduled ingest: {_number.name} to its process",
        "scheduled ingest",
        strikes=Strikes.CHECK,
    )(_lister_gets(_number))
for _number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
    disturbance(f"ingest: {_number.name} to `run new`", "ingest", strikes=Strikes.INGEST)(
        _lister_gets(_number)
    )


@disturbance("listing: two listers killed, one after the other", "listing", strikes=Strikes.LISTING)
def lister_killed_twice(scene: Scene, random: Random) -> Iterator[None]:
    for _ in range(2):
        require(scene.wait_until(lambda: bool(scene.listers()), 30), "nobody lists")
        killed = scene.listers()
        send_signal(killed, signal.SIGKILL)
        _require_end(scene, killed)
    yield


@disturbance(
    "listing: lister stopped beyond its lease",
    "listing",
    seconds=(3, 6),
    strikes=Strikes.LISTING,
)
def lister_stopped(scene: Scene, random: Random) -> Iterator[None]:
    """The archive keeps the index back until the lister is stopped; then another one lists."""
    (before,) = scene.rows("SELECT claimed_by FROM run WHERE state = 'listing'")
    stopped = scene.listers()
    stop(stopped)
    yield

    def is_taken_over() -> bool:
        newest = "SELECT claimed_by, state FROM run ORDER BY run_id DESC LIMIT 1"
        ((claimant, state),) = scene.rows(newest)
        return state != "listing" or claimant not in (None, *before)

    require(scene.wait_until(is_taken_over, 20), "nobody has taken the listing over")
    send_signal(stopped, signal.SIGCONT)


@disturbance("ingest: `run new` stopped", "ingest", seconds=(2, 5), strikes=Strikes.INGEST)
def ingest_stopped(scene: Scene, random: Random) -> Iterator[None]:
    stopped = scene.listers()
    stop(stopped)
    yield
    send_signal(stopped, signal.SIGCONT)


# Products and checkpoints


def _products_to_come(scene: Scene) -> list[tuple[int, str]]:
    """Sound products, with their runs, whose images have not been fetched yet."""
    waiting = scene.rows(
        "SELECT run_product.run_id, product_id FROM run_product JOIN chunk "
        "ON chunk.run_id = run_product.run_id AND number = chunk_number "
        "WHERE chunk.state = 'ready' AND result IS NULL ORDER BY 1, 2"
    )
    sound = scene.archive.sound_products()
    found = [(run_id, product_id) for run_id, product_id in waiting if product_id in sound]
    require(found, "no sound product is left")
    return found


def _switched_on(name: str, reason: str) -> Generate:
    def inflict(scene: Scene, random: Random) -> Iterator[None]:
        run_id, harmed = random.choice(_products_to_come(scene))
        scene.harmed = {harmed}
        scene.switch(name, harmed)
        yield
        has_ended = scene.wait_for_the_end(90)  # a chunk is split until the product is found
        scene.switch(name, None)
        require(has_ended, "the run does not end")
        found = scene.rows(
            "SELECT reason FROM run_product WHERE run_id = :run_id AND product_id = :harmed",
            run_id=run_id,
            harmed=harmed,
        )
        require(found == [(reason,)], f"{harmed}: {found}")

    return inflict


disturbance("product that kills its process", "products", harms=True)(
    _switched_on("poison", "worker lost")
)
disturbance("product that needs too much memory", "products", harms=True)(
    _switched_on("memory", "internal error")
)


@disturbance("checkpoint file missing for a moment", "products", seconds=(0, 3))
def checkpoint_away(scene: Scene, random: Random) -> Iterator[None]:
    """The children are started again meanwhile, so that they have to load it."""
    said = scene.log().count("Chunks are left to other workers")
    folder = scene.data / "checkpoints"
    folder.rename(scene.data / "elsewhere")
    for worker in scene.workers:
        send_signal(scene.children(worker), signal.SIGKILL)
    scene.archive.release()

    def is_missed() -> bool:
        return scene.log().count("Chunks are left to other workers") > said

    require(scene.wait_until(is_missed, 30), "no worker misses the checkpoint")
    yield
    if folder.exists():
        shutil.rmtree(folder)
    (scene.data / "elsewhere").rename(folder)


@disturbance("GPU fails", "products", seconds=(0, 3))
def device_fails(scene: Scene, random: Random) -> Iterator[None]:
    """Every process that uses it has to be replaced."""
    fault = "CUDA error: device-side assert triggered"
    said = scene.log().count(fault)
    before = {child for worker in scene.workers for child in scene.children(worker)}
    scene.switch("device", fault)
    scene.archive.release()
    require(scene.wait_until(lambda: scene.log().count(fault) > said, 30), "no worker meets it")
    yield
    scene.switch("device", None)

    def is_replaced() -> bool:
        return not before <= {child for each in scene.workers for child in scene.children(each)}

    require(scene.wait_until(is_replaced, 30), "no process was replaced")


# Runs


@disturbance("overlapping runs", "runs")
def overlapping_runs(scene: Scene, random: Random) -> Iterator[None]:
    for _ in range(random.randint(1, 2)):
        scene.queue_run(reclassify=random.random() < 0.5)
    require(len(scene.open_runs()) > 1, "the first run has ended")
    yield


@disturbance("promotion in mid-run", "runs", seconds=(0, 2))
def promotion(scene: Scene, random: Random) -> Iterator[None]:
    classifiers.promote(scene.engine, "second")
    require(scene.open_runs(), "no run is open")
    yield
    classifiers.promote(scene.engine, "first")


@disturbance("thresholds changed in mid-run", "runs", seconds=(0, 2))
def thresholds_changed(scene: Scene, random: Random) -> Iterator[None]:
    changed = random.sample(CODES, 5)
    for code in changed:
        thresholds.set_threshold(scene.engine, code, round(random.uniform(0.05, 0.85), 2), "first")
    require(scene.open_runs(), "no run is open")
    yield
    for code in changed:
        thresholds.set_threshold(scene.engine, code, 0.9, "first")


@disturbance("run paused and resumed", "runs", seconds=(1, 4))
def paused(scene: Scene, random: Random) -> Iterator[None]:
    run_ids = [run_id for run_id, _ in scene.open_runs()]
    for run_id in run_ids:
        with suppress(RunClosed):
            ledger.pause_run(scene.engine, run_id)
    require(scene.rows("SELECT FROM run WHERE paused"), "no run is paused")
    yield
    for run_id in run_ids:
        with suppress(RunClosed):
            ledger.resume_run(scene.engine, run_id)
