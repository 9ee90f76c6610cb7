"""The rules that the database itself enforces."""

NAME = "1P000000001EFF0000P2600L2M1"
SHA = "a" * 64
PRODUCT = (
    "INSERT INTO product (product_id, rover, sequence, sol, site, lines, line_samples, image_url)"
    " VALUES (:name, :rover, 'P2600', :sol, :site, :lines, :samples, :url)"
)
PRODUCT_VALUES = {
    "name": "1P000000099EFF0000P2600L2M1",
    "rover": "Opportunity",
    "sol": 1,
    "site": None,
    "lines": 512,
    "samples": 512,
    "url": "file:///x.img",
}


WRONG_PRODUCT = [
    {"name": NAME[:26]},
    {"name": NAME + "1"},
    {"name": NAME.lower()},
    {"rover": ""},
    {"sol": -1},
    {"site": -1},
    {"lines": 0},
    {"samples": -512},
    {"url": ""},
]


def test_a_product_with_a_wrong_value_is_refused(story):
    assert not story.is_refused(PRODUCT, **PRODUCT_VALUES)
    accepted = [
        wrong for wrong in WRONG_PRODUCT if not story.is_refused(PRODUCT, **PRODUCT_VALUES | wrong)
    ]
    assert accepted == []


CLASSIFIER = (
    "INSERT INTO classifier (sha256, name, path, threshold, header, is_current)"
    " VALUES (:sha, :name, '/m', :threshold, CAST(:header AS jsonb), :current)"
)
CLASSIFIER_VALUES = {
    "sha": "b" * 64,
    "name": "second",
    "threshold": 0.9,
    "header": "{}",
    "current": False,
}


WRONG_CLASSIFIER = [
    {"sha": "b" * 63},
    {"sha": "B" * 64},
    {"sha": SHA},
    {"name": "first"},
    {"name": ""},
    {"threshold": 0.0},
    {"threshold": 1.0},
    {"threshold": float("nan")},
    {"header": "[]"},
    {"current": True},
]


def test_a_classifier_with_a_wrong_value_or_a_second_current_one_is_refused(story):
    assert not story.is_refused(CLASSIFIER, **CLASSIFIER_VALUES)
    accepted = [
        wrong
        for wrong in WRONG_CLASSIFIER
        if not story.is_refused(CLASSIFIER, **CLASSIFIER_VALUES | wrong)
    ]
    assert accepted == []


RUN = (
    "INSERT INTO run (kind, state, classifier, archives, products, chunk_size, reclassify, error,"
    " claimed_by, finished_at) VALUES (:kind, :state, :sha, CAST(:archives AS text[]), :products,"
    " :chunk_size, false, :error, :claimed_by, CAST(:finished AS timestamptz))"
)
RUN_VALUES = {
    "kind": "full",
    "state": "listing",
    "sha": SHA,
    "archives": ["sample"],
    "products": "edr",
    "chunk_size": 32,
    "error": None,
    "claimed_by": None,
    "finished": None,
}


WRONG_RUN = [
    {"kind": "half"},
    {"state": "done"},
    {"sha": "f" * 64},
    {"archives": []},
    {"products": "all"},
    {"chunk_size": 0},
    {"error": "without having failed"},
    {"state": "failed", "finished": "2026-01-01"},
    {"claimed_by": "somebody, but when?"},
    {"state": "finished"},
    {"finished": "2026-01-01"},
]


def test_a_run_with_a_wrong_value_is_refused(story):
    assert not story.is_refused(RUN, **RUN_VALUES)
    accepted = [wrong for wrong in WRONG_RUN if not story.is_refused(RUN, **RUN_VALUES | wrong)]
    assert accepted == []


WRONG_CHUNK_CHANGES = [
    "state = 'lost'",
    "state = 'claimed'",
    "state = 'done'",
    "closed_at = now()",
    "attempts = -1",
    "number = 0",
]


def test_a_chunk_with_a_wrong_value_is_refused(story):
    story.listed()
    accepted = [
        change
        for change in WRONG_CHUNK_CHANGES
        if not story.is_refused(f"UPDATE chunk SET {change} WHERE number = 1")
    ]
    assert accepted == []


def test_a_member_of_a_run_needs_a_chunk_of_that_run(story):
    story.listed(count=8, chunk_size=4)
    assert story.is_refused("UPDATE run_product SET chunk_number = 3")
    assert not story.is_refused("UPDATE run_product SET chunk_number = 2")


GOOD = "array_fill(CAST(0.5 AS real), ARRAY[25])"
FIRST_24 = f"({GOOD})[1 : 24]"
OUTCOME = (
    "INSERT INTO outcome (product_id, classifier, run_id, state, scores, reason, detail, attempts)"
    f" VALUES ('{NAME}', '{SHA}', 1, %s, 1)"
)
WRONG_OUTCOMES = [
    "'classified', NULL, NULL, NULL",
    f"'classified', {GOOD}, 'not found', 'gone'",
    f"'failed', {GOOD}, 'not found', 'gone'",
    "'failed', NULL, NULL, NULL",
    "'failed', NULL, 'not found', NULL",
    "'failed', NULL, '', 'gone'",
    "'waiting', NULL, NULL, NULL",
    f"'classified', {FIRST_24}, NULL, NULL",
    f"'classified', {GOOD} || CAST(0.5 AS real), NULL, NULL",
    "'classified', array_fill(CAST(0.5 AS real), ARRAY[5, 5]), NULL, NULL",
    "'classified', array_fill(CAST(0.5 AS real), ARRAY[25], ARRAY[0]), NULL, NULL",
    "'classified', '{}', NULL, NULL",
    f"'classified', {FIRST_24} || CAST(1.01 AS real), NULL, NULL",
    f"'classified', {FIRST_24} || CAST(-0.01 AS real), NULL, NULL",
    f"'classified', {FIRST_24} || CAST('NaN' AS real), NULL, NULL",
    f"'classified', {FIRST_24} || CAST(NULL AS real), NULL, NULL",
]
RIGHT_OUTCOMES = [
    f"'classified', {GOOD}, NULL, NULL",
    f"'classified', {FIRST_24} || CAST(0 AS real), NULL, NULL",
    f"'classified', {FIRST_24} || CAST(1 AS real), NULL, NULL",
    "'failed', NULL, 'not found', 'gone'",
]


def test_an_outcome_is_25_probabilities_or_a_reason(story):
    story.listed()
    refused = {
        values: story.is_refused(OUTCOME % values) for values in WRONG_OUTCOMES + RIGHT_OUTCOMES
    }
    assert [values for values in refused if not refused[values]] == RIGHT_OUTCOMES


CLASSIFICATION = f"INSERT INTO classification VALUES ('{NAME}', '{SHA}', :code, :probability)"
WRONG_CLASSIFICATIONS = [
    {"code": "sky", "probability": 0.9},
    {"code": "sky", "probability": 0.5},
    {"code": "sky", "probability": 1.1},
    {"code": "sky", "probability": float("nan")},
    {"code": "no class", "probability": 0.95},
    {"code": "rod", "probability": 0.95},
]


def test_a_classification_is_of_a_known_class_once_and_above_the_threshold(story):
    story.publish(story.listed(count=1), 1)  # publishes rod
    assert not story.is_refused(CLASSIFICATION, code="sky", probability=0.95)
    accepted = [
        wrong for wrong in WRONG_CLASSIFICATIONS if not story.is_refused(CLASSIFICATION, **wrong)
    ]
    assert accepted == []


def test_a_classification_cannot_be_lowered_to_the_threshold(story):
    story.publish(story.listed(count=1), 1)
    assert story.is_refused("UPDATE classification SET probability = 0.9")


def test_a_classification_needs_an_outcome_and_goes_with_it(story):
    story.listed(count=1)
    assert story.is_refused(CLASSIFICATION, code="sky", probability=0.95)
    story.publish(1, 1)
    story.execute("DELETE FROM outcome")
    assert story.rows("SELECT count(*) FROM classification") == [(0,)]


def test_there_are_25_classes_in_chain_order(story):
    rows = story.rows("SELECT position, code FROM image_class ORDER BY position")
    assert [position for position, _ in rows] == list(range(1, 26))
    assert (rows[0][1], rows[20][1], rows[24][1]) == ("rod", "sky", "art")


def test_the_name_without_version_and_the_version_follow_from_the_name(story, product):
    story.listed_products([product(1, "A")])
    assert story.rows("SELECT name_key, version FROM product") == [
        ("1P000000001EFF0000P2600L2M", "A")
    ]
