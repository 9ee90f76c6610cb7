"""Tables and sentences on terminals of any width, and in pipes; durations in words."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from mernet.cli.shared import output

NAME = "2P129916709EFF0685P2306L2M1"
URL = "https://archive.example/mer2po_0xxx/data/sol0040/" + NAME.lower() + ".img"
DETAIL = "The file ends after 12 of 1024 lines; ask the archive for a whole one"
HEADERS = ("product", "reason", "listed", "detail")
ROWS = ((NAME, "not found", 1234567, DETAIL), (NAME, "truncated", 7, URL))


@pytest.fixture
def printed(monkeypatch):
    """What is printed on a terminal of this width, or into a pipe without one."""

    def run(action, *arguments, width=None) -> list[str]:
        file = StringIO()
        console = Console(
            file=file,
            width=width,
            force_terminal=width is not None,
            no_color=True,
            color_system=None,
            highlight=False,
        )
        monkeypatch.setattr(output, "out", console)
        action(*arguments)
        return file.getvalue().splitlines()

    return run


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200, None])
def test_no_word_or_number_of_a_table_is_broken_at_any_width(printed, width):
    lines = printed(output.print_table, HEADERS, ROWS, width=width)
    words = " ".join(lines).split()
    for value in (NAME, URL, "1234567", "truncated", *DETAIL.split()):
        assert value in words


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_lines_of_a_table_fit_the_terminal_except_a_longer_word(printed, width):
    lines = printed(output.print_table, HEADERS, ROWS, width=width)
    assert all(len(line) <= width or URL in line.split() for line in lines)


def test_in_a_pipe_a_row_is_one_line(printed):
    lines = printed(output.print_table, HEADERS, ROWS)
    assert len(lines) == 1 + len(ROWS)
    assert lines[2].split() == [NAME, "truncated", "7", URL]


def test_the_last_column_is_wrapped_between_words_below_itself(printed):
    lines = printed(output.print_table, ("reason", "detail"), [("truncated", DETAIL)], width=50)
    assert [line[:9].strip() for line in lines] == ["reason", "truncated", ""]
    assert " ".join(line[10:] for line in lines[1:]) == DETAIL


def test_columns_that_do_not_fit_are_written_below_the_row_with_their_headers(printed):
    row = (NAME, 0.95, "Opportunity", 123456, URL)
    lines = printed(
        output.print_table, ("product", "rtr", "rover", "sol", "image_url"), [row], width=50
    )
    assert lines[1].split() == [NAME, "0.950", "Opportunity"]
    assert [line.strip() for line in lines[2:]] == ["sol: 123456", f"image_url: {URL}"]


def test_numbers_are_aligned_to_the_right(printed):
    lines = printed(output.print_table, ("class", "images"), [("sky", 5), ("rtr", None)])
    assert lines == ["class images", "sky        5", "rtr        -"]


def test_a_table_without_rows_is_its_headers(printed):
    assert printed(output.print_table, ("class", "images"), [], width=80) == ["class images"]


@pytest.mark.parametrize("text", ["[bold]x[/bold]", r"\[/b]", "[/]"])
def test_cells_are_printed_as_they_are(printed, text):
    assert printed(output.print_table, ("name",), [(text,)])[1] == text


def test_sentences_are_wrapped_between_words_and_long_words_stay_whole(printed):
    text = f"The file {URL} cannot be read, because the archive is closed for the night."
    lines = printed(output.say, text, width=40)
    assert [line.rstrip() for line in lines] == [
        "The file", URL, "cannot be read, because the archive is", "closed for the night.",
    ]  # fmt: skip
    assert printed(output.say, text) == [text]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"), (0.4, "0 s"), (59.6, "1 min"), (75, "1 min 15 s"), (3600, "1 h"),
        (3605, "1 h"), (7500, "2 h 5 min"), (90_000, "1 d 1 h"), (86_460, "1 d"),
    ],
)  # fmt: skip
def test_durations_are_in_words(seconds, words):
    assert output.in_words(seconds) == words


def test_times_are_in_utc(printed):
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert printed(output.print_table, ("started",), [(when,)])[1] == "2026-01-02 03:04:05"
