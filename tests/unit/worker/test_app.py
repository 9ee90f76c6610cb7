"""The Celery application does not depend on the working folder."""

import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

LOAD_TASKS = """
from mernet.worker.app import app
app.loader.import_default_modules()
assert {"mernet.list_run", "mernet.classify_chunk"} <= set(app.tasks)
"""


def test_tasks_load_whatever_modules_lie_in_the_working_folder(tmp_path: Path):
    names = {*packages_distributions(), *sys.stdlib_module_names, "model", "db", "cli", "worker"}
    for name in names:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} of the working folder')")
    ran = subprocess.run(
        [sys.executable, "-P", "-c", LOAD_TASKS], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
