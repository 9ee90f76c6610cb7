"""Measurements: each script runs as `python -m bench.NAME`, and rows are added to what is there."""

import csv
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[3]
HELPERS = ("__init__", "recording", "database", "torch_device")
# The folder of the project, where `bench` is found, is not on the tests' module search path.
IMPORT_ALL = "import importlib, sys; [importlib.import_module(name).main for name in sys.argv[1:]]"
ADD_ROWS = """
import sys
from pathlib import Path
from bench.recording import add_rows

path = Path(sys.argv[1])
add_rows(path, [{"case": "a", "seconds": 1.5}], "cpu", {"torch": "2"})
add_rows(path, [{"case": "a", "peak": 3}, {"case": "b", "seconds": None}], "cpu", {"torch": "3"})
add_rows(path, [{"case": "b", "seconds": 4}], "cpu", {"torch": "3"}, replaces=("case", "torch"))
"""


def run_python(*words: str) -> str:
    ran = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_each_script_can_be_imported_and_has_a_main():
    scripts = [path.stem for path in (ROOT / "bench").glob("*.py") if path.stem not in HELPERS]
    assert len(scripts) >= 8
    run_python("-c", IMPORT_ALL, *(f"bench.{name}" for name in scripts))


def test_a_script_runs_as_a_module():
    assert "REAL_FILES" in run_python("-m", "bench.listing", "--help")


def test_rows_are_added_with_date_device_and_versions(tmp_path: Path):
    path = tmp_path / "new" / "case.csv"
    run_python("-c", ADD_ROWS, str(path))
    today = datetime.now(UTC).date().isoformat()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"date": today, "device": "cpu", "torch": "2", "case": "a", "seconds": "1.5", "peak": ""},
        {"date": today, "device": "cpu", "torch": "3", "case": "a", "seconds": "", "peak": "3"},
        {"date": today, "device": "cpu", "torch": "3", "case": "b", "seconds": "4", "peak": ""},
    ]
