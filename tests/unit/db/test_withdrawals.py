"""How many products may be withdrawn at once: a hundred, or a tenth of the archive's."""

import pytest

from mernet.db.errors import TooManyWithdrawn
from mernet.db.ledger.withdrawals import require_few_withdrawn

HERE, ELSEWHERE = "https://example.org/here/", "https://example.org/elsewhere/"


@pytest.mark.parametrize(("gone", "before"), [(0, 0), (2, 12), (100, 100), (101, 1010)])
def test_few_withdrawals_are_accepted(gone, before):
    require_few_withdrawn({HERE: gone}, {HERE: before})


@pytest.mark.parametrize(("gone", "before"), [(101, 101), (101, 1009), (9_000, 15_601)])
def test_many_are_refused_with_the_archive_and_the_numbers(gone, before):
    with pytest.raises(
        TooManyWithdrawn, match=f"{HERE} no longer lists {gone} of its {before} known products"
    ):
        require_few_withdrawn({HERE: gone}, {HERE: before})


def test_a_large_archive_does_not_hide_what_a_small_one_lost():
    with pytest.raises(TooManyWithdrawn, match=HERE):
        require_few_withdrawn({HERE: 150, ELSEWHERE: 1}, {HERE: 150, ELSEWHERE: 15_601})
