"""Disturbances in a row, of random kinds and at random times: `make soak`.

SOAK_SEED (default 1) gives the same kinds and choices again, SOAK_COUNT (200) is their number,
SOAK_MINUTES ends it earlier, SOAK_KINDS takes only the kinds whose name contains a text,
SOAK_TABLE is the file of the table, SOAK_FUZZ the number of inputs of the fuzz (100,000).
"""

import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from faults.disturbances import ALL, Disturbance  # noqa: E402  # after the folder of tests
from faults.judgement import Record, inflict, undisturbed  # noqa: E402
from faults.scene import Scene, scene  # noqa: E402
from mernet.demo.archive import write_archive  # noqa: E402

PRODUCTS = 36
RECOVERY_SECONDS = 30.0
DOCUMENT = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"


def main() -> int:
    """Run the soak; return 0 if everything was survived."""
    if sys.argv[1:] == ["--document"]:
        return write_into_document(_table_file())
    seed, count = _number("SOAK_SEED", 1), _number("SOAK_COUNT", 200)
    minutes = _number("SOAK_MINUTES", 24 * 60)
    fuzz_failed = _fuzz(seed, _number("SOAK_FUZZ", 100_000))
    with tempfile.TemporaryDirectory(prefix="mernet-archive-") as folder:
        write_archive(Path(folder), seed=11, products=PRODUCTS)
        with scene(Path(folder)) as made:
            records = _soak(made, seed, count, time.monotonic() + 60 * minutes)
            skipped = {name: why for name, each in ALL.items() if (why := each.why_not(made))}
    _table_file().write_text(table(records, seed, skipped))
    failed = [record for record in records if is_failure(record)]
    print(f"{len(records)} disturbances, {len(failed)} not survived; {_table_file()}")
    return 1 if failed or fuzz_failed or len(records) < min(count, 1) else 0


def is_failure(record: Record) -> bool:
    """Whether something was lost, doubled or hung, or work did not go on in time."""
    return bool(record.complaints) or record.recovery > RECOVERY_SECONDS


def _soak(made: Scene, seed: int, count: int, deadline: float) -> list[Record]:
    expected = undisturbed(made)
    records: list[Record] = []
    for number, kind in enumerate(_kinds(made, seed, count)):
        if time.monotonic() > deadline:
            print("out of time", flush=True)
            break
        began = time.monotonic()
        record = inflict(made, kind, seed * 100_000 + number, expected)
        records.append(record)
        _print(number + 1, record, time.monotonic() - began)
        if record.complaints:
            _keep_log(made, record)
    return records


def _kinds(made: Scene, seed: int, count: int) -> list[Disturbance]:
    """`count` kinds in random order, each as often as any other but once."""
    wanted = os.environ.get("SOAK_KINDS", "")
    possible = [each for name, each in ALL.items() if wanted in name and not each.why_not(made)]
    chosen = random.Random(seed)
    kinds: list[Disturbance] = []
    while len(kinds) < count:
        kinds += chosen.sample(possible, len(possible))
    return kinds[:count]


def _print(number: int, record: Record, seconds: float) -> None:
    verdict = "NOT SURVIVED" if is_failure(record) else "survived"
    print(
        f"{number:4} {verdict:12} {record.name} (seed {record.seed}"
        f"{', first publishing' if record.fresh else ''}): lasted {record.lasted:.1f} s, back after"
        f" {record.recovery:.1f} s, ended after {record.ended:.1f} s, {seconds:.0f} s in all",
        flush=True,
    )
    for complaint in record.complaints:
        print(f"       {complaint}", flush=True)


def _keep_log(made: Scene, record: Record) -> None:
    """Keep the end of the workers' log beside the table."""
    file = _table_file().with_name(f"soak-{record.seed}.log")
    file.write_text(made.log()[-200_000:])


def table(records: list[Record], seed: int, skipped: dict[str, str]) -> str:
    """Return the table in Markdown, with seed, date and commit."""
    by_kind: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_kind[record.name].append(record)
    lines = [
        f"{len(records)} disturbances, seed {seed}, {datetime.now(UTC):%Y-%m-%d}, commit "
        f"{_commit()}; survived: {sum(not is_failure(each) for each in records)}.",
        "",
        "| disturbance | times | survived | lasted up to | back at work, median | longest |",
        "|---|---|---|---|---|---|",
    ]
    for name, disturbance in ALL.items():
        if name in by_kind:
            lines.append(_row(disturbance, by_kind[name]))
    lines += [f"| {name} | 0 | not tried: {why} | | | |" for name, why in skipped.items()]
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


def write_into_document(file: Path) -> int:
    """Put the table into docs/reliability.md."""
    text = DOCUMENT.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{file.read_text()}\n{END}{after}")
    return 0


def _fuzz(seed: int, count: int) -> bool:
    """Run the fuzz of bytes from outside, if it is there; return whether it failed."""
    file = Path(__file__).with_name("fuzz.py")
    if not file.is_file() or not count:
        return False
    command = f"import sys; from faults.fuzz import main; sys.exit(main({seed}, {count}))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    return subprocess.run([sys.executable, "-c", command], env=environment).returncode != 0


def _table_file() -> Path:
    return Path(os.environ.get("SOAK_TABLE", ROOT / "build" / "soak" / "table.md"))


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # ends the servers, too
    _table_file().parent.mkdir(parents=True, exist_ok=True)
    sys.exit(main())
