"""Connections to archive hosts are shared by all processes, and granted in order of asking."""

from mernet.db import connections, obstacles
from mernet.db.obstacles import ObstacleKind

LIMIT = 8
BUSY = ObstacleKind.CONNECTIONS


def lease(story, run_id, wanted, *hosts, seconds=60, holder=None, limit=LIMIT):
    return connections.lease(
        story.engine,
        holder or f"holder {run_id}",
        run_id,
        hosts or ("https://a",),
        wanted,
        limit,
        seconds,
    )


def give_back(story, run_id):
    connections.give_back(story.engine, f"holder {run_id}")


def test_all_holders_together_never_have_more_than_the_limit(story):
    assert [lease(story, run_id, 5) for run_id in (1, 2, 3)] == [5, 3, 0]
    assert story.rows("SELECT sum(connections) FROM archive_connection") == [(LIMIT,)]


def test_what_is_given_back_is_free_again(story):
    lease(story, 1, 8)
    give_back(story, 1)
    assert lease(story, 2, 8) == 8


def test_hosts_are_counted_apart_and_several_are_leased_together_or_not_at_all(story):
    assert lease(story, 1, 8, "https://a") == 8
    assert lease(story, 2, 2, "https://a", "https://b") == 0
    assert lease(story, 2, 8, "https://b") == 8


def test_the_connections_of_a_process_that_died_are_free_after_its_lease(story):
    assert lease(story, 1, 8, seconds=0) == 8
    assert lease(story, 2, 8) == 8


def test_a_renewed_lease_lasts(story):
    lease(story, 1, 8, seconds=0)
    connections.renew(story.engine, "holder 1", 60)
    assert lease(story, 2, 8) == 0


def test_connections_are_granted_in_the_order_of_asking(story):
    lease(story, 1, 1, limit=1)
    assert [lease(story, run_id, 1, limit=1) for run_id in (3, 2)] == [0, 0]
    give_back(story, 1)
    assert [lease(story, run_id, 1, limit=1) for run_id in (2, 4, 3)] == [0, 0, 1]
    give_back(story, 3)
    assert [lease(story, run_id, 1, limit=1) for run_id in (4, 3, 2)] == [0, 0, 1]


def test_a_run_keeps_its_place_at_each_host_while_its_chunks_ask_for_others(story):
    for host in ("https://a", "https://b"):
        lease(story, 1, 1, host, limit=1)
    both = ("https://a", "https://b", "https://a", "https://b")
    assert [lease(story, 2, 1, host, limit=1) for host in both] == [0] * 4
    assert [lease(story, 3, 1, host, limit=1) for host in both[:2]] == [0, 0]
    assert [lease(story, 2, 1, host, limit=1) for host in both] == [0] * 4
    give_back(story, 1)
    assert [lease(story, 3, 1, host, limit=1) for host in both[:2]] == [0, 0]
    assert [lease(story, 2, 1, host, limit=1) for host in both[:2]] == [1, 1]


def test_a_run_that_is_granted_connections_to_one_host_keeps_its_place_at_another(story):
    lease(story, 1, 1, "https://a", limit=1)
    assert lease(story, 2, 1, "https://a", limit=1) == 0
    assert lease(story, 3, 1, "https://a", limit=1) == 0
    assert lease(story, 2, 1, "https://b", limit=1) == 1
    give_back(story, 1)
    assert lease(story, 3, 1, "https://a", limit=1) == 0
    assert lease(story, 2, 1, "https://a", limit=1) == 1


def test_one_connection_is_kept_for_each_who_asked_earlier_and_the_others_are_granted(story):
    lease(story, 1, 8)
    assert [lease(story, run_id, 8) for run_id in (2, 3)] == [0, 0]
    give_back(story, 1)
    assert [lease(story, run_id, 8) for run_id in (4, 2)] == [6, 2]


def test_a_run_has_one_place_in_the_queue_which_it_loses_if_it_does_not_ask_again(story):
    lease(story, 1, 8)
    for holder in ("one", "other"):
        lease(story, 2, 8, holder=holder)
    assert story.rows("SELECT holder FROM archive_connection ORDER BY 1") == [
        ("holder 1",),
        ("run 2",),
    ]
    story.execute("UPDATE archive_connection SET expires_at = now() WHERE holder = 'run 2'")
    give_back(story, 1)
    assert lease(story, 3, 8) == 8


def test_who_is_granted_connections_waits_no_longer_but_others_do(story):
    run_ids = [story.listed(count=4), story.listed(count=4, reclassify=True)]
    lease(story, 0, 4)
    lease(story, 99, 4)
    for run_id in run_ids:
        lease(story, run_id, 4)
        story.meet(run_id, BUSY, "https://a")
    give_back(story, 0)
    [waiting] = obstacles.current(story.engine)
    assert waiting.seconds_left == 0, "it is tried at once when connections are given back"
    assert lease(story, run_ids[0], 4) == 4
    assert obstacles.current(story.engine)[0].run_ids == (run_ids[1],)
    give_back(story, 99)
    assert lease(story, run_ids[1], 4) == 4
    assert obstacles.current(story.engine) == []


def test_nothing_waits_for_connections_of_which_none_is_in_use(story):
    run_id = story.listed(count=4)
    lease(story, 0, 8)
    lease(story, run_id, 4)
    story.meet(run_id, BUSY, "https://a")
    give_back(story, 0)
    assert obstacles.current(story.engine) == []


def test_the_busiest_host_is_the_one_that_is_waited_for(story):
    lease(story, 1, 8, "https://b")
    lease(story, 2, 2, "https://a", "https://b")
    assert connections.busiest(story.engine, ["https://a", "https://b"]) == "https://b"
    assert connections.busiest(story.engine, ["https://c"]) == "https://c"
