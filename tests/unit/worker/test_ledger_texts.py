"""Texts for the ledger have no control characters, which Postgres or a terminal would not take."""

from mernet.pds.selection import LeftOut, LeftOutReason
from mernet.worker.listing import Tally


def test_names_of_products_that_are_left_out_are_printable_and_short() -> None:
    tally = Tally()
    tally.leave_out(LeftOut("a\0\x1b[2J\n" + "b" * 100_000, LeftOutReason.UNREADABLE_NAME))
    [example] = tally.left_out()[LeftOutReason.UNREADABLE_NAME].examples
    assert example.startswith(r"a\x00\x1b[2J\n")
    assert len(example) <= 200
