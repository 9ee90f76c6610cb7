"""Dependencies: bounds above published advisories, and an audit that is never silently green."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LISTED = [
    *PROJECT["project"]["dependencies"],
    *(each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra),
    *PROJECT["build-system"]["requires"],
]
BOUNDS = {Requirement(each).name: Requirement(each).specifier for each in LISTED}

FIRST_WITHOUT_ADVISORY = {
    "certifi": "2024.7.4",  # CVE-2024-39689
    "filelock": "3.20.3",  # CVE-2025-68146, CVE-2026-22701
    "fonttools": "4.61",  # CVE-2025-66034
    "idna": "3.7",  # CVE-2024-3651
    "jinja2": "3.1.6",  # CVE-2025-27516
    "pillow": "12.1.1",  # CVE-2025-48379, CVE-2026-25990
    "psycopg2-binary": "2.9.11",  # its libpq: CVE-2025-1094
    "pytest": "9.0.3",  # CVE-2025-71176
    "requests": "2.33",  # CVE-2024-47081, CVE-2026-25645
    "scikit-learn": "1.5",  # CVE-2024-5206
    "setuptools": "78.1.1",  # CVE-2025-47273
    "torch": "2.10",  # CVE-2025-32434, CVE-2026-24747
    "tornado": "6.5.5",  # CVE-2025-47287, CVE-2025-67724, CVE-2026-31958
    "urllib3": "2.6.3",  # CVE-2025-50181, CVE-2025-66418, CVE-2026-21441
}


@pytest.mark.parametrize("name", FIRST_WITHOUT_ADVISORY)
def test_the_lower_bound_leaves_out_versions_with_a_known_advisory(name):
    lowest = [Version(each.version) for each in BOUNDS[name] if each.operator == ">="]
    assert lowest
    assert min(lowest) >= Version(FIRST_WITHOUT_ADVISORY[name])


def audit(folder: Path, answer: str) -> "subprocess.CompletedProcess[str]":
    """Run `make audit`'s script with a pip-audit that gives this answer."""
    (folder / "pip_audit.py").write_text(answer)
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )


def answering(*packages: dict[str, object]) -> str:
    return f"import json\nprint(json.dumps({{'dependencies': {list(packages)!r}}}))"


def test_an_audit_without_advisories_succeeds(tmp_path):
    ran = audit(tmp_path, answering({"name": "celery", "vulns": []}))
    assert (ran.returncode, ran.stdout) == (0, "No advisory on 1 installed packages.\n")


def test_an_audit_names_each_advisory_and_fails(tmp_path):
    advisory = {"id": "CVE-1", "fix_versions": ["9.9"]}
    ran = audit(tmp_path, answering({"name": "celery", "vulns": [advisory]}))
    assert ran.returncode == 1
    assert "celery: CVE-1, fixed in 9.9" in ran.stdout


def test_an_audit_that_reached_no_list_fails_and_says_so(tmp_path):
    skipped = {"name": "celery", "skip_reason": "Dependency not found on PyPI"}
    ran = audit(tmp_path, answering(skipped))
    assert ran.returncode == 1
    assert "Not audited" in ran.stdout
    assert "1 of 1 packages, such as celery" in ran.stdout


def test_an_audit_that_broke_down_fails_and_says_so(tmp_path):
    ran = audit(tmp_path, "import sys; sys.exit('ConnectionError: no network')")
    assert ran.returncode == 1
    assert "Not audited: ConnectionError: no network" in ran.stderr
