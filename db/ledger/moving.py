"""Archives that have moved: their products, with their results, are at another address now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sqlalchemy as sa

from mernet.db.engine import transaction_once
from mernet.db.errors import UnknownArchive
from mernet.db.obstacles import let_listing_wait
from mernet.db.tables import run
from mernet.printable import printable

Rename: TypeAlias = Callable[[str], str]

EXAMPLES = 5
"""How many archives an error names."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What `move_archive` has changed.

    Attributes:
        products: How many products have moved.
        there_before: How many products were at the new address already.
        runs: The open runs that find an archive, or their mirror, at the new address now.
    """

    products: int
    there_before: int
    runs: tuple[int, ...]


# If the new address is below the old one, what is there has moved already.
HAS_MOVED = """
starts_with({url}, :old) AND NOT (starts_with(:new, :old) AND starts_with({url}, :new))
"""


def _new_form(url: str, condition: str) -> str:
    """Return the SQL of a URL's form at the new address, if `condition` holds."""
    return f"""CASE WHEN {condition}
        THEN CAST(:new AS text) || substr({url}, length(:old) + 1) ELSE {url} END"""


def _new_forms(*urls: str) -> str:
    """Return the SQL of the URLs of a product whose archive has moved; some may be elsewhere."""
    return ", ".join(_new_form(url, f"starts_with({url}, :old)") for url in urls)


PRODUCTS = sa.text(f"""
UPDATE product SET (source, image_url, label_url, browse_url) =
    ({_new_forms("source", "image_url", "label_url", "browse_url")})
WHERE {HAS_MOVED.format(url="source")}
""")

# Where runs listed products that other archives have. Ended runs, too: a retry reads the products
# there. What such a run did with each product stays as it was recorded.
MEMBERS = sa.text(f"""
UPDATE run_product SET (source, image_url, label_url) =
    ({_new_forms("source", "image_url", "label_url")})
WHERE {HAS_MOVED.format(url="source")}
""")

# What open chunks wait for.
CHUNKS = sa.text(f"""
UPDATE chunk SET sources = ARRAY(
    SELECT {_new_form("source", HAS_MOVED.format(url="source"))} FROM unnest(sources) AS source
)
WHERE state IN ('ready', 'claimed') AND EXISTS (
    SELECT FROM unnest(sources) AS source WHERE {HAS_MOVED.format(url="source")}
)
""")

# The next check reads both listings, whatever was known of them.
FORGET_LISTINGS = sa.text("""
DELETE FROM listing_state WHERE starts_with(source, :old) OR starts_with(source, :new)
""")

THERE_BEFORE = sa.text(f"""
SELECT count(*) FROM product
WHERE starts_with(source, :new) AND NOT ({HAS_MOVED.format(url="source")})
""")

HAVE_MOVED_BEFORE = sa.text("""
SELECT EXISTS (
    SELECT FROM product_history AS before JOIN product USING (product_id)
    WHERE starts_with(before.source, :old) AND starts_with(before.cause, 'moved to ' || :new)
      AND starts_with(product.source, :new)
)
""")

SOURCES = sa.text("""
SELECT DISTINCT source FROM product WHERE source IS NOT NULL ORDER BY 1 LIMIT :examples
""")


@transaction_once
def move_archive(connection: sa.Connection, old: str, new: str, rename: Rename) -> Moved:
    """Give the products of archives below an old address the same places below a new one.

    Their outcomes stay. What they were is kept in `product_history`. Open runs list and read the
    archives at the new address. What is below the new address already stays there, also if that
    begins with the old one; a move that is given again changes nothing.

    Args:
        connection: The function's own transaction; callers pass the engine.
        old: A URL that ends with a slash, with which the URLs of archives begin.
        new: The URL that takes its place, which ends with a slash, too.
        rename: Returns what a run is to call an archive or a mirror from now on: its address at the
            new place, or what the run called it, if it has not moved.

    Raises:
        UnknownArchive: Nothing is there, nor was it before such a move, nor is an open run to list
            anything there.
    """
    # Runs before products, as those who list lock them.
    runs = _rename_in_open_runs(connection, rename)
    connection.exec_driver_sql("LOCK TABLE product IN SHARE ROW EXCLUSIVE MODE")
    connection.execute(sa.text("SELECT set_config('mernet.cause', 'moved to', true)"))
    key = {"old": old, "new": new}
    there_before = connection.execute(THERE_BEFORE, key).scalar_one()
    moved = Moved(connection.execute(PRODUCTS, key).rowcount, there_before, runs)
    if not (moved.products or moved.runs or connection.scalar(HAVE_MOVED_BEFORE, key)):
        raise UnknownArchive(_nothing_there(connection, old))
    for statement in (MEMBERS, CHUNKS, FORGET_LISTINGS):
        connection.execute(statement, key)
    return moved


def _nothing_there(connection: sa.Connection, old: str) -> str:
    known = connection.scalars(SOURCES, {"examples": EXAMPLES}).all()
    return (
        f"No product's archive is at {printable(old)}; give the beginning of an archive's "
        f"address, such as {printable(', '.join(known) or 'none, as none is listed yet')}."
    )


def _rename_in_open_runs(connection: sa.Connection, rename: Rename) -> tuple[int, ...]:
    """Lock the open runs, and let them find archives and mirrors at the new address.

    A listing that a worker makes at the old one is taken away from it; it is due at once.

    Returns:
        The runs of which an archive or the mirror has moved.
    """
    rows = connection.execute(
        sa.select(run.c.run_id, run.c.archives, run.c.unlisted, run.c.mirror)
        .where(run.c.finished_at.is_(None))
        .order_by(run.c.run_id)
        .with_for_update(key_share=True)
    )
    moved = []
    for run_id, archives, unlisted, mirror in rows.all():
        known = {"archives": archives, "unlisted": unlisted, "mirror": mirror}
        now = _renamed(archives, unlisted, mirror, rename)
        if now != known:
            connection.execute(sa.update(run).where(run.c.run_id == run_id).values(now))
            moved.append(run_id)
        if unlisted and (now["unlisted"], now["mirror"]) != (unlisted, mirror):
            _make_listing_due(connection, run_id)
    return tuple(moved)


def _renamed(
    archives: Sequence[str], unlisted: Sequence[str], mirror: str | None, rename: Rename
) -> dict[str, object]:
    """Return the columns of `run` with the new names of its archives and its mirror.

    With a mirror, all archives are read there and have names, which a URL could not replace.
    """
    if mirror is not None:
        return {"archives": archives, "unlisted": unlisted, "mirror": rename(mirror)}
    return {
        "archives": [rename(name) for name in archives],
        "unlisted": [rename(name) for name in unlisted],
        "mirror": None,
    }


def _make_listing_due(connection: sa.Connection, run_id: int) -> None:
    connection.execute(
        sa.update(run)
        .where(run.c.run_id == run_id)
        .values(attempts=0, claimed_by=None, last_heartbeat_at=None, sent_at=None)
    )
    let_listing_wait(connection, run_id, ())
