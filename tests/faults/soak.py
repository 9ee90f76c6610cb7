"""Disturbances in a row, of random kinds and at random times: `make soak`.

SOAK_SEED (default 1) gives the same kinds and choices again; SOAK_COUNT (200) is their number, and
SOAK_FIRST (0) the first: one of a log is inflicted again with its number and SOAK_COUNT=1.
SOAK_KINDS takes only the kinds whose name contains a text, SOAK_SCENES (2) is the number of scenes
side by side, SOAK_FUZZ the number of inputs of the fuzz (100,000; 0 for none), SOAK_FOLDER where
the table and the log are written. A soak that SOAK_MINUTES ends before SOAK_COUNT disturbances has
failed; with SOAK_COUNT=0 there are as many as the minutes allow.
"""

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from faults.disturbances import ALL, Disturbance  # noqa: E402  # after the folder of tests
from faults.judgement import Record, inflict, undisturbed  # noqa: E402
from faults.scene import Published, Scene, scene  # noqa: E402
from mernet.demo.archive import write_archive  # noqa: E402

PRODUCTS = 36
PACE = 0.3
RECOVERY_SECONDS = 30.0
SLOWEST = 10
DOCUMENT = ROOT / "docs" / "reliability.md"
DOCUMENTED_LOG = ROOT / "docs" / "soak.log"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"


@dataclass
class Soak:
    """What is to be inflicted, and what was.

    Attributes:
        seed: Gives the same kinds and choices again.
        count: The number of disturbances; 0 for as many as the time allows.
        first: The number of the first one.
        deadline: When no other one begins, on the monotonic clock.
        records: What each did, with its number and the seconds that it took in all.
        skipped: The kinds that cannot be inflicted here, with the reason.
        is_cut_off: Whether the time was over before all were inflicted.
        is_ended: Set to begin no other one; those that have begun are judged.
    """

    seed: int
    count: int
    first: int
    deadline: float
    records: list[tuple[int, Record, float]] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    is_cut_off: bool = False
    is_ended: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def numbers(self) -> Iterator[int]:
        number = self.first
        while not self.count or number < self.first + self.count:
            if time.monotonic() > self.deadline or self.is_ended.is_set():
                self.is_cut_off = bool(self.count)
                return
            yield number
            number += 1

    def run(self, archive: Path, scenes: int) -> None:
        """Inflict all, in so many scenes side by side."""
        numbers = self.numbers()
        with ThreadPoolExecutor(scenes) as pool:
            for task in [
                pool.submit(self._run_in_a_scene, archive, numbers) for _ in range(scenes)
            ]:
                task.result()

    def _run_in_a_scene(self, archive: Path, numbers: Iterator[int]) -> None:
        with scene(archive, PACE) as made:
            expected = undisturbed(made)
            self.skipped = {name: why for name, each in ALL.items() if (why := each.why_not(made))}
            while (number := self._next(numbers)) is not None:
                self._inflict(made, number, expected)

    def _next(self, numbers: Iterator[int]) -> int | None:
        with self._lock:
            return next(numbers, None)

    def _inflict(self, made: Scene, number: int, expected: Published) -> None:
        began = time.monotonic()
        record = inflict(made, self._kind(number), self.seed * 100_000 + number, expected)
        took = time.monotonic() - began
        with self._lock:
            self.records.append((number, record, took))
            print(line(number, record, took), flush=True)
        if record.complaints:
            _keep_log(made, record)

    def _kind(self, number: int) -> Disturbance:
        """The kinds come in random order, each as often as any other but once."""
        wanted = os.environ.get("SOAK_KINDS", "")
        possible = [each for each in ALL.values() if wanted in each.name]
        possible = [each for each in possible if each.name not in self.skipped]
        turn, place = divmod(number, len(possible))
        order = random.Random(f"{self.seed} {turn}").sample(possible, len(possible))
        return order[place]

    @property
    def failed(self) -> int:
        return sum(is_failure(record) for _, record, _ in self.records)


def main() -> int:
    """Run the soak; return 0 if everything was survived."""
    folder = _folder()
    if sys.argv[1:] == ["--document"]:
        return write_into_document(folder)
    folder.mkdir(parents=True, exist_ok=True)
    seed = _number("SOAK_SEED", 1)
    fuzz_failed = _fuzz(seed, _number("SOAK_FUZZ", 100_000))
    minutes = _number("SOAK_MINUTES", 24 * 60)
    deadline = time.monotonic() + 60 * minutes
    soak = Soak(seed, _number("SOAK_COUNT", 200), _number("SOAK_FIRST", 0), deadline)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: soak.is_ended.set())
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mernet-archive-") as archive:
        write_archive(Path(archive), seed=11, products=PRODUCTS)
        soak.run(Path(archive), _number("SOAK_SCENES", 2))
    soak.records.sort(key=lambda each: each[0])
    (folder / "table.md").write_text(table(soak))
    (folder / "soak.log").write_text(log(soak))
    _print_slowest(soak)
    took = (time.monotonic() - began) / 60
    print(f"{_verdict(soak, fuzz_failed)} ({took:.0f} minutes; {folder})")
    return 1 if soak.failed or fuzz_failed or soak.is_cut_off or not soak.records else 0


def _verdict(soak: Soak, fuzz_failed: bool) -> str:
    done = f"{len(soak.records)} disturbances, {soak.failed} not survived"
    if fuzz_failed:
        done += "; the fuzz FAILED"
    if soak.is_cut_off:
        done += f"; FAILED: cut off before {soak.count} disturbances"
    return done


def is_failure(record: Record) -> bool:
    """Whether something was lost, doubled or hung, or work did not go on in time."""
    return bool(record.complaints) or record.recovery > RECOVERY_SECONDS


def line(number: int, record: Record, took: float) -> str:
    """Return a disturbance's line of the log, with a line for each complaint."""
    verdict = "NOT SURVIVED" if is_failure(record) else "survived"
    first = (
        f"{number:4} {verdict:12} seed {record.seed}{' first' if record.fresh else '      '} "
        f"lasted {record.lasted:5.1f} back {record.recovery:5.1f} ended {record.ended:5.1f} "
        f"all {took:5.1f}  {record.name}"
    )
    return "\n".join((first, *(f"       {each}" for each in record.complaints)))


def log(soak: Soak) -> str:
    """Return the log: each disturbance with its seed and verdict; times in seconds."""
    head = (
        f"soak of {datetime.now(UTC):%Y-%m-%d}, commit {_commit()}, seed {soak.seed}; times in "
        "seconds;\n'first': nothing had been published before; 'back': until work went on\n"
    )
    return head + "".join(f"{line(*each)}\n" for each in soak.records)


def _print_slowest(soak: Soak) -> None:
    seconds: dict[str, list[float]] = defaultdict(list)
    for _, record, took in soak.records:
        seconds[record.name].append(took)
    mean = {name: statistics.mean(each) for name, each in seconds.items()}
    for name in sorted(mean, key=lambda each: -mean[each])[:SLOWEST]:
        print(f"{mean[name]:6.1f} s  {name}")


def _keep_log(made: Scene, record: Record) -> None:
    """Keep the end of the workers' log beside the table."""
    file = _folder() / f"soak-{record.seed}.log"
    file.write_text(made.log()[-200_000:])


def table(soak: Soak) -> str:
    """Return the table in Markdown, with seed, date and commit."""
    records = [record for _, record, _ in soak.records]
    by_kind: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_kind[record.name].append(record)
    lines = [
        f"{len(records)} disturbances, seed {soak.seed}, {datetime.now(UTC):%Y-%m-%d}, commit "
        f"{_commit()}; survived: {len(records) - soak.failed}. Each with its seed: "
        "[soak.log](soak.log).",
        "",
        "| disturbance | times | survived | lasted up to | back at work, median | longest |",
        "|---|---|---|---|---|---|",
    ]
    for name, disturbance in ALL.items():
        if name in by_kind:
            lines.append(_row(disturbance, by_kind[name]))
    lines += [f"| {name} | 0 | not tried: {why} | | | |" for name, why in soak.skipped.items()]
    failures = [record for record in records if is_failure(record)]
    if failures:
        lines += ["", "Not survived:", ""]
    for record in failures:
        why = record.complaints or [f"back at work after {record.recovery:.0f} s"]
        said = "; ".join(why[:2]).replace("|", "/").replace("\n", " ")
        lines.append(f"- {record.name}, seed {record.seed}: {said[:300]}")
    return "\n".join(lines) + "\n"


def _row(disturbance: Disturbance, records: list[Record]) -> str:
    recoveries = [record.recovery for record in records]
    survived = sum(not is_failure(record) for record in records)
    lasted = max(record.lasted for record in records)
    return (
        f"| {disturbance.name} | {len(records)} | {survived} | {lasted:.0f} s "
        f"| {statistics.median(recoveries):.1f} s | {max(recoveries):.1f} s |"
    )


def write_into_document(folder: Path) -> int:
    """Put the table into docs/reliability.md, and the log beside it."""
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    table_text = (folder / "table.md").read_text()
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{table_text}\n{END}{after}")
    DOCUMENTED_LOG.write_text((folder / "soak.log").read_text())
    return 0


def _fuzz(seed: int, count: int) -> bool:
    """Run the fuzz of bytes from outside; return whether it failed."""
    if not count:
        return False
    command = f"import sys; from faults.fuzz import main; sys.exit(main({seed}, {count}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    return subprocess.run([sys.executable, "-c", command], env=environment).returncode != 0


def _folder() -> Path:
    return Path(os.environ.get("SOAK_FOLDER", ROOT / "build" / "soak"))


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
