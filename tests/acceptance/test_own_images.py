"""Your own images, as the README says: a folder's images change nothing that an archive lists."""

import shutil

import pytest


@pytest.fixture
def service(make_service, archive_url):
    """A service that has classified the sample archive's volume of Opportunity."""
    service = make_service()
    service.succeed("run", "full", "--archive", f"{archive_url}mer1po_0xxx/", "--follow")
    return service


@pytest.fixture
def folder(service, archive, tmp_path):
    """A folder of copies: two as they are, one cut off, one under a higher version, one new."""
    classified = "SELECT product_id FROM outcome WHERE state = 'classified' ORDER BY 1 LIMIT 4"
    files = {file.stem.upper(): file for file in archive.rglob("*.img")}
    images = [files[name.replace("#", "_")] for (name,) in service.rows(classified)]
    own = tmp_path / "own"
    own.mkdir()
    for image in images:
        shutil.copy(image, own / image.name)
    (own / images[0].name).write_bytes(images[0].read_bytes()[:-100_000])
    for name in (f"{images[1].name[:26]}9.img", f"1p999{images[2].name[5:]}"):
        shutil.copy(images[2], own / name)
    return own


TABLES = (
    "SELECT * FROM atlas_search ORDER BY 1, 2",
    "SELECT * FROM product WHERE collection = 'archive' ORDER BY 1",
    "SELECT * FROM outcome JOIN product USING (product_id) WHERE collection = 'archive' ORDER BY 1",
)


def test_a_folder_of_copies_changes_no_row_of_the_archive(service, folder):
    before = [service.rows(table) for table in TABLES]
    words = ("run", "full", "--archive", str(folder), "--products", "any", "--follow")
    ran = service.json(*words)
    assert [service.rows(table) for table in TABLES] == before
    assert (ran["known"], ran["classified"]) == (3, 2)
    again = service.json(*words, "--reclassify")
    assert [service.rows(table) for table in TABLES] == before
    assert (again["known"], again["classified"]) == (3, 2)
    assert "3 are in another archive or folder" in service.succeed("status")
    assert service.json("reconcile")["ok"]
    own = {row["class"]: row["images"] for row in service.json("search", "--own")}
    assert sum(own.values()) > 0


def test_published_own_images_come_beside_those_of_the_archive(service, folder):
    before = set(service.rows("SELECT product_id, class, image_url FROM atlas_search"))
    words = ("run", "full", "--archive", str(folder), "--products", "any", "--follow")
    service.json(*words, "--publish")
    added = set(service.rows("SELECT product_id, class, image_url FROM atlas_search"))
    assert before < added
    assert {product[:5] for product, _, _ in added - before} == {"1P999"}
