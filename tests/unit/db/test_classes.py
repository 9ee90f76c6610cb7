"""The classes of the database are the classes of the model."""

from importlib import import_module
from pathlib import Path
from runpy import run_path

from mernet.db.migrate import MIGRATIONS


def test_the_first_migration_writes_the_classes_of_the_model_in_their_order():
    migration = run_path(str(next(Path(MIGRATIONS, "versions").glob("0001_*.py"))))
    classes = import_module("mernet.model.classes").CLASSES
    assert list(migration["CLASSES"]) == [(each.code, each.name, each.group) for each in classes]
    assert [each.position for each in classes] == list(range(1, 26))
