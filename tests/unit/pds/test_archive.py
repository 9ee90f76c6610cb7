"""Finding an archive by name, URL or path."""

import pytest

from mernet.pds.archive import (
    ArchiveKind,
    at_new_address,
    is_mirrored,
    named_archives,
    resolve,
    url_at_mirror,
)
from mernet.pds.errors import BadArchiveError


@pytest.mark.parametrize("rover", ["opportunity", "spirit"])
@pytest.mark.parametrize("place", ["", "-pds4", "-registry"])
def test_a_named_archive_is_found_by_its_name(rover, place):
    archive = resolve(rover + place)
    assert archive.kind is named_archives()[rover + place].kind
    assert archive.url.startswith("https://")


@pytest.mark.parametrize("mirror", ["https://mirror.example/mer1", "https://mirror.example/mer1/"])
def test_a_mirror_replaces_the_base_of_a_named_archive(mirror):
    assert resolve("opportunity", mirror).url == "https://mirror.example/mer1/mer1po_0xxx/"


def test_a_mirrored_archive_keeps_its_own_urls():
    own, mirrored = resolve("opportunity"), resolve("opportunity", "https://mirror.example/mer1")
    assert mirrored.source == own.source == own.url
    file = f"{own.url}data/x.img"
    assert mirrored.url_to_read(file) == "https://mirror.example/mer1/mer1po_0xxx/data/x.img"
    assert mirrored.own_url(mirrored.url_to_read(file)) == file
    assert own.own_url(file) == own.url_to_read(file) == file


def test_files_of_named_archives_are_read_at_the_mirror_and_others_where_they_are():
    url, elsewhere = resolve("spirit").url, "https://example.org/x.img"
    assert url_at_mirror(url, "https://mirror.example") == "https://mirror.example/mer2po_0xxx/"
    assert url_at_mirror(elsewhere, "https://mirror.example") == elsewhere
    assert url_at_mirror(url, None) == url
    assert (is_mirrored(url), is_mirrored(elsewhere)) == (True, False)


def test_a_mirror_may_be_a_folder(tmp_path):
    assert resolve("spirit", str(tmp_path)).url == f"{tmp_path.as_uri()}/mer2po_0xxx/"


@pytest.mark.parametrize(
    ("mirror", "complaint"),
    [
        ("/nowhere", "mirror is not usable: '/nowhere' is neither"),
        ("~nosuchuser/x", "home directory"),
        ("a" * 5000, "too long"),
        ("a\0b", "contains a NUL"),
        ("http://a:port/", "has a port that is not a number"),
        ("http://", "names no host"),
    ],
)
def test_a_text_that_is_not_a_path_is_refused_as_mirror(mirror, complaint):
    with pytest.raises(BadArchiveError, match=complaint):
        resolve("opportunity", mirror)


def test_a_mirror_of_a_search_is_another_server():
    archive = resolve("spirit-registry", "https://mirror.example/api")
    assert archive.kind is ArchiveKind.REGISTRY
    assert archive.url == (
        "https://mirror.example/api/products/urn:nasa:pds:mer2_pancam_sci_calibrated2:data/members"
    )


def test_a_folder_is_refused_as_mirror_of_a_search(tmp_path):
    with pytest.raises(BadArchiveError, match="give a URL as its mirror"):
        resolve("spirit-registry", str(tmp_path))


def test_a_mirror_of_what_has_no_name_is_refused():
    with pytest.raises(BadArchiveError, match="give the mirror itself"):
        resolve("https://example.org/vol/", "https://mirror.example/")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://example.org/mer1po_0xxx", ArchiveKind.VOLUME),
        ("https://example.org/mer1po_0xxx/", ArchiveKind.VOLUME),
        ("https://example.org/v/index/edrindex.lbl", ArchiveKind.INDEX),
        ("https://example.org/v/index/EDRINDEX.TAB", ArchiveKind.INDEX),
        ("https://example.org/v/index/edrindex.tab.gz", ArchiveKind.INDEX),
        ("https://example.org/b/data/collection.csv", ArchiveKind.INVENTORY),
        ("https://example.org/api/products/urn:nasa:pds:b:c/members", ArchiveKind.REGISTRY),
        ("https://example.org/api/products/urn%3Anasa%3Apds%3Ab%3Ac/members", ArchiveKind.REGISTRY),
        ("https://example.org/api/products/urn:nasa:pds:b:c::2.0/members", ArchiveKind.REGISTRY),
    ],
)
def test_a_url_tells_what_it_is_by_its_end(url, kind):
    assert resolve(url).kind is kind


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("index/edrindex.lbl", ArchiveKind.VOLUME),
        ("collection_data.csv", ArchiveKind.INVENTORY),
        ("1p128287181eff0000p2303l2m1.img", ArchiveKind.FOLDER),
    ],
)
def test_a_folder_tells_what_it_is_by_what_lies_in_it(tmp_path, entry, kind):
    path = tmp_path / "a folder #1" / entry
    path.parent.mkdir(parents=True)
    path.touch()
    archive = resolve(str(tmp_path / "a folder #1"))
    assert archive.kind is kind
    assert "/a%20folder%20%231/" in archive.url
    assert resolve((tmp_path / "a folder #1").as_uri()).url == archive.url


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (
            "curiosity",
            "Known archives: opportunity, opportunity-pds4, opportunity-registry, spirit, ",
        ),
        ("https://example.org/products/urn:nasa:pds:b:c/members/", "end the URL with /members"),
        (
            "https://example.org/products/urn:nasa:pds:b:c/members?limit=1",
            "end the URL with /members",
        ),
        ("ftp://example.org/", "scheme 'ftp'; use http, https or file"),
        ("https://", "names no host"),
        ("http:///x", "names no host"),
        ("http:x", "names no host"),
        ("http://a:port/", "has a port that is not a number"),
        ("http://a:99999/", "has a port that is not a number"),
        ("http://a:0/", "has a port that is not a number"),
        ("http://" + "a" * 300 + "/", "names a host that cannot exist"),
        ("http://a..b/", "names a host that cannot exist"),
        ("http://a/b c", "holds blanks"),
        ("http://a/\x1b[2J", "holds blanks or control characters"),
        ("http://a/" + "b" * 5000, "more than 2000 characters"),
        ("http://a/edrindex.tab?x=1", "has a query or fragment"),
        ("http://a/mer1po_0xxx#index", "has a query or fragment"),
        ("http://a/collection.xml", "is a PDS4 label; give the inventory"),
        ("http://a/COLLECTION.LBLX", "is a PDS4 label; give the inventory"),
        ("/dev/null", "is neither a file nor a folder"),
        ("file:///does/not/exist", "does not exist"),
        ("http://[", "is not a valid URL"),
        ("~nosuchuser/x", "home directory"),
        ("a" * 5000, "File name too long"),
        ("file:///" + "a" * 5000, "File name too long"),
        ("a\0b", "contains a NUL"),
        ("https://example.org/\0/", "contains a NUL"),
        ("file:///a%00b", "does not exist"),
        ("\ud800", "cannot be resolved"),
        ("", "Known archives"),
    ],
)
def test_a_text_that_is_not_an_archive_is_refused_saying_what_to_give(spec, complaint):
    with pytest.raises(BadArchiveError, match=complaint):
        resolve(spec)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "readme.txt").touch()
    with pytest.raises(BadArchiveError, match="neither an index"):
        resolve(str(tmp_path / "readme.txt"))


@pytest.mark.parametrize("name", ["collection.xml", "collection.lblx", "COLLECTION.XML"])
def test_a_pds4_label_is_no_archive(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(BadArchiveError, match="is a PDS4 label; give the inventory"):
        resolve(str(tmp_path / name))


def test_two_inventories_in_a_folder_are_ambiguous(tmp_path):
    (tmp_path / "collection_a.csv").touch()
    (tmp_path / "collection_b.csv").touch()
    with pytest.raises(BadArchiveError, match="give one of them"):
        resolve(str(tmp_path))


@pytest.mark.parametrize("spec", ["a" * 400_000, "http://[" + "a" * 9_000, "x\x1b[2J", "a\0b"])
def test_what_is_no_archive_is_quoted_shortly(spec: str) -> None:
    with pytest.raises(BadArchiveError) as caught:
        resolve(spec)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 800


OLD, NEW = "https://old.example/mer/", "https://new.example/a/"


@pytest.mark.parametrize(
    ("spec", "moved"),
    [
        ("https://old.example/mer/volume/", "https://new.example/a/volume/"),
        ("https://old.example/mer", "https://new.example/a"),
        ("https://old.example/mer/index/i.tab", "https://new.example/a/index/i.tab"),
        ("https://old.example/mercury/", "https://old.example/mercury/"),
        ("spirit", "spirit"),
    ],
)
def test_what_is_below_an_old_address_is_named_by_the_new_one(spec, moved):
    assert at_new_address(spec, OLD, NEW) == moved


@pytest.mark.parametrize("name", ["spirit", "spirit-pds4", "spirit-registry"])
def test_an_archive_of_the_list_is_named_by_its_new_address_and_stays_of_its_kind(name):
    archive, base = resolve(name), named_archives()[name].base
    moved = resolve(at_new_address(name, base, NEW))
    assert moved.url == archive.url.replace(base, NEW)
    assert (moved.kind, moved.label) == (archive.kind, archive.label)


def test_what_is_at_the_new_address_already_keeps_its_name():
    below = "https://old.example/mer/v2/"
    assert at_new_address(f"{below}volume/", OLD, below) == f"{below}volume/"


def test_a_path_that_is_gone_is_named_by_the_new_one(tmp_path):
    old, new = f"{(tmp_path / 'a b').as_uri()}/", f"{(tmp_path / 'c').as_uri()}/"
    assert at_new_address(str(tmp_path / "a b" / "images"), old, new) == f"{new}images"
