"""README and docs: their commands and options exist, their files are there, the SQL runs."""

import re
import shlex
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from mernet.cli.commands import app

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)
IN_CONTAINER = r"(?:docker compose exec (?:-T )?[\w-]+ )?"
COMMANDS = sorted(set(re.findall(rf"^\$ {IN_CONTAINER}(mernet [^#\n>&]*)", TEXT, re.MULTILINE)))
INLINE = sorted(set(re.findall(r"`(mernet [^`]+)`", TEXT)))
LINKS = [
    (page, target) for page in PAGES for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
]


@pytest.mark.parametrize("line", COMMANDS + INLINE)
def test_every_command_shown_exists_with_its_options(line):
    words = shlex.split(line)[1:]
    shown = CliRunner().invoke(app, [*words, "--help"])
    assert shown.exit_code == 0, shown.output


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_every_link_leads_to_a_file(page, target):
    assert (page.parent / target).exists()


@pytest.mark.parametrize("target", re.findall(r"^\$ make (\w+)", README, re.MULTILINE))
def test_every_make_target_exists(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_the_sql_runs_and_the_table_of_columns_is_that_of_the_view(engine):
    (query,) = re.findall(r"```sql\n(.*?)```", README, re.DOTALL)
    with engine.connect() as connection:
        assert connection.execute(sa.text(query)).all() == []
        view = set(connection.execute(sa.text("SELECT * FROM atlas_search")).keys())
    table = README.split("| column | meaning |")[1].split("\n\n")[0]
    documented = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split(" | ")[0])
    }
    assert documented == view
