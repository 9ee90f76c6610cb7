"""Connections to archive hosts are shared by all processes."""

from mernet.db import connections

LIMIT = 8


def lease(story, holder, wanted, *hosts, seconds=60):
    return connections.lease(story.engine, holder, hosts or ("https://a",), wanted, LIMIT, seconds)


def test_all_holders_together_never_have_more_than_the_limit(story):
    assert [lease(story, holder, 5) for holder in ("a", "b", "c")] == [5, 3, 0]
    assert story.rows("SELECT sum(connections) FROM archive_connection") == [(LIMIT,)]


def test_what_is_given_back_is_free_again(story):
    lease(story, "a", 8)
    connections.give_back(story.engine, "a")
    assert lease(story, "b", 8) == 8


def test_hosts_are_counted_apart_and_several_are_leased_together_or_not_at_all(story):
    assert lease(story, "a", 8, "https://a") == 8
    assert lease(story, "b", 2, "https://a", "https://b") == 0
    assert lease(story, "c", 6, "https://b") == 6
    assert lease(story, "d", 8, "https://b", "https://c") == 2


def test_the_connections_of_a_process_that_died_are_free_after_its_lease(story):
    assert lease(story, "dead", 8, seconds=0) == 8
    assert lease(story, "b", 8) == 8


def test_a_renewed_lease_lasts(story):
    lease(story, "a", 8, seconds=0)
    connections.renew(story.engine, "a", 60)
    assert lease(story, "b", 8) == 0
