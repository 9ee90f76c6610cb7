"""Listing over http: what a server leaves out, refuses, cuts off, or has in another place."""

import gzip

import pytest

from mernet.pds.archive import Archive, ArchiveKind, resolve
from mernet.pds.errors import (
    BadIndexError,
    FetchError,
    ForbiddenError,
    NotFoundError,
    ShortListingError,
    TransferError,
)
from mernet.pds.fetch import Fetcher
from mernet.pds.label_batches import BATCH
from mernet.pds.listing import list_products
from mernet.pds.selection import LeftOutReason, Selection

COLUMNS = ("PATH_NAME", "FILE_NAME", "LINES", "LINE_SAMPLES")
RDR = "2p{:09d}rad0361p2600l2c1"
EDR = "1p{:09d}eff0000p2303l2m1"


def label_of(columns=COLUMNS, rows=None):
    promise = f"ROWS = {rows}\r\n" if rows is not None else ""
    described = "".join(f"OBJECT = COLUMN\r\nNAME = {c}\r\nEND_OBJECT\r\n" for c in columns)
    return (
        f'PDS_VERSION_ID = PDS3\r\n^INDEX_TABLE = "EDRINDEX.TAB"\r\nOBJECT = INDEX_TABLE\r\n'
        f"{promise}{described}END_OBJECT\r\nEND\r\n"
    ).encode()


def table_of(*names, sizes=("1024", "1024")):
    rows = ("\t".join((f'"/v/data/"\t"{name}.img"', *sizes)) + "\r\n" for name in names)
    return "".join(rows).encode()


@pytest.fixture
def listed():
    """Lists an archive without retries; the products, and the reasons of what is left out."""

    def listed(archive, products="edr"):
        archive = archive if isinstance(archive, Archive) else resolve(archive)
        reasons = []
        with Fetcher(attempts=1) as fetcher:
            found = list(
                list_products(
                    [archive],
                    Selection(products),
                    fetcher,
                    lambda left_out: reasons.append(left_out.reason),
                    lambda _: None,
                )
            )
        return found, reasons

    return listed


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.parametrize("packed", [False, True])
def test_a_refused_name_in_upper_case_does_not_hide_the_one_in_lower_case(
    server, answers, listed, status, packed
):
    server.on("/v/index/edrindex.lbl", answers(200, label_of()))
    server.on("/v/index/EDRINDEX.TAB", answers(status))
    table = table_of(EDR.format(1))
    name = "edrindex.tab.gz" if packed else "edrindex.tab"
    server.on(f"/v/index/{name}", answers(200, gzip.compress(table) if packed else table))
    assert len(listed(server.url("/v/"))[0]) == 1


@pytest.mark.parametrize("status", [403, 404])
def test_an_index_folder_in_upper_case_is_found(server, answers, listed, status):
    for folder in ("index", "INDEX"):
        for name in ("edrindex.lbl", "EDRINDEX.LBL"):
            server.on(f"/v/{folder}/{name}", answers(status))
    server.on("/v/INDEX/EDRINDEX.LBL", answers(200, label_of()))
    server.on("/v/INDEX/EDRINDEX.TAB", answers(200, table_of(EDR.format(1))))
    [product], _ = listed(server.url("/v/"))
    assert product.image_url == server.url(f"/v/data/{EDR.format(1)}.img")


def test_an_index_that_is_refused_in_both_cases_is_forbidden(server, answers, listed):
    server.on("/v/index/edrindex.lbl", answers(403))
    with pytest.raises(ForbiddenError, match=r"edrindex\.lbl was refused"):
        listed(server.url("/v/"))


def test_an_index_that_is_nowhere_names_the_places_that_were_tried(listed, server):
    with pytest.raises(NotFoundError, match=r"index/edrindex\.lbl.*INDEX/EDRINDEX\.LBL"):
        listed(server.url("/v/"))


def test_a_body_cut_off_without_a_length_is_a_short_listing(server, listed, answers):
    server.on("/v/index/edrindex.lbl", answers(200, label_of(rows=3)))

    def cut(handler, _):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(table_of(*map(EDR.format, range(3)))[:-60])
        handler.close_connection = True

    server.on("/v/index/EDRINDEX.TAB", cut)
    with pytest.raises(ShortListingError, match="of 3 rows"):
        listed(server.url("/v/"))


def test_sizes_come_from_a_range_of_each_wanted_product(server, answers, listed, pds3_product):
    pixels_of_a_kind = pds3_image(pds3_product)
    names = [EDR.format(1), EDR.format(2), "1p000000003eff0000p2303r2m1"]
    server.on("/v/index/edrindex.lbl", answers(200, label_of(COLUMNS[:2])))
    server.on("/v/index/EDRINDEX.TAB", answers(200, table_of(*names, sizes=())))

    def ranged(handler, _):
        assert handler.headers["Range"] == "bytes=0-65535"
        answers(206, pixels_of_a_kind[:65536])(handler, _)

    server.on(f"/v/data/{names[0]}.img", ranged)
    server.on(f"/v/data/{names[1]}.img", answers(200, pixels_of_a_kind))
    found, _ = listed(server.url("/v/"))
    assert [(product.lines, product.line_samples) for product in found] == [(512, 512)] * 2
    assert server.asked[f"/v/data/{names[2]}.img"] == 0


def pds3_image(label: bytes) -> bytes:
    return label + bytes(2**20)


@pytest.fixture
def pds3_product() -> bytes:
    return (
        b"PDS_VERSION_ID = PDS3\r\nRECORD_BYTES = 512\r\nFILE_RECORDS = 1\r\n^IMAGE = 9\r\n"
        b"OBJECT = IMAGE\r\nLINES = 512\r\nLINE_SAMPLES = 512\r\nEND_OBJECT\r\nEND\r\n"
    )


def test_of_a_server_without_ranges_no_more_is_read_than_a_label_has(server, answers):
    url = server.on("/big.img", answers(200, b"x" * 5_000_000))
    with Fetcher(attempts=1) as fetcher:
        assert fetcher.fetch_start(url, 1000) == b"x" * 1000
        assert fetcher.transfers.received_bytes < 1_000_000


@pytest.mark.parametrize(
    ("status", "headers"),
    [(416, {}), (200, {}), (200, {"Content_Length": str(10**9)})],
    ids=["empty file with ranges", "empty file", "huge file"],
)
def test_a_product_whose_file_is_empty_or_huge_does_not_fail_the_listing(
    server, answers, listed, pds3_product, status, headers
):
    server.on("/v/index/edrindex.lbl", answers(200, label_of(COLUMNS[:2])))
    table = table_of(EDR.format(1), EDR.format(2), sizes=())
    server.on("/v/index/EDRINDEX.TAB", answers(200, table))
    server.on(f"/v/data/{EDR.format(1)}.img", answers(status, **headers))
    server.on(f"/v/data/{EDR.format(2)}.img", answers(200, pds3_product))
    found, reasons = listed(server.url("/v/"))
    assert [product.product_id for product in found] == [EDR.format(2).upper()]
    assert reasons == [LeftOutReason.UNREADABLE_LABEL]


@pytest.mark.parametrize("part", ["bytes 100-200/1000", "bytes 1-2/3", "items 0-5/9", "none"])
def test_another_part_than_the_first_bytes_is_a_fault_of_the_host(server, answers, part):
    url = server.on("/a.img", answers(206, b"x" * 100, Content_Range=part))
    with Fetcher(attempts=1) as fetcher, pytest.raises(TransferError, match="first bytes"):
        fetcher.fetch_start(url, 100)


@pytest.mark.parametrize("part", ["bytes 0-99/100", "Bytes 0-99/*", "bytes  00-99/100"])
def test_the_first_bytes_may_be_announced_in_any_way(server, answers, part):
    url = server.on("/a.img", answers(206, b"x" * 100, Content_Range=part))
    with Fetcher(attempts=1) as fetcher:
        assert fetcher.fetch_start(url, 100) == b"x" * 100


def test_a_label_that_cannot_be_fetched_now_fails_the_listing(server, answers, listed):
    server.on("/v/index/edrindex.lbl", answers(200, label_of(COLUMNS[:2])))
    server.on("/v/index/EDRINDEX.TAB", answers(200, table_of(EDR.format(1), sizes=())))
    server.on(f"/v/data/{EDR.format(1)}.img", answers(503))
    with pytest.raises(FetchError, match="503"):
        listed(server.url("/v/"))


def inventory_of(count):
    rows = (f"P,urn:nasa:pds:b:data:{RDR.format(number)}::1.0\r\n" for number in range(count))
    return "".join(rows).encode()


PDS4_LABEL = b"""<Product_Observational><File_Area_Observational>
<File><file_name>x.img</file_name></File><Array_2D_Image><offset unit="byte">0</offset>
<Element_Array><data_type>SignedMSB2</data_type></Element_Array>
<Axis_Array><elements>512</elements><sequence_number>1</sequence_number></Axis_Array>
<Axis_Array><elements>512</elements><sequence_number>2</sequence_number></Axis_Array>
</Array_2D_Image></File_Area_Observational></Product_Observational>"""


def test_a_wrong_place_of_pds4_labels_gives_up_after_one_batch(server, answers, listed):
    url = server.on("/c/collection.csv", answers(200, inventory_of(4 * BATCH)))
    with pytest.raises(BadIndexError, match=r"does not exist, and no other wanted product"):
        listed(url, "rdr")
    labels = {path for path in server.asked if "rad0361" in path}
    assert len({path.partition(".")[0] for path in labels}) == BATCH


@pytest.mark.parametrize("suffix", [".xml", ".lblx"])
@pytest.mark.parametrize("name", ["collection_data_inventory.csv", "collection_data.tab"])
def test_labels_and_inventories_may_have_any_name_of_the_standard(
    server, answers, listed, suffix, name
):
    url = server.on(f"/c/{name}", answers(200, inventory_of(3)))
    for number in range(3):
        server.on(f"/c/{RDR.format(number)}{suffix}", answers(200, PDS4_LABEL))
    found, _ = listed(url, "rdr")
    assert len(found) == 3
    assert found[0].label_url == server.url(f"/c/{RDR.format(0)}{suffix}")


@pytest.mark.parametrize("label", ["collection_data.xml", "collection_data_inventory.lblx"])
def test_an_inventory_that_ends_before_its_records_is_refused(server, answers, listed, label):
    url = server.on("/c/collection_data_inventory.csv", answers(200, inventory_of(2)))
    promise = b"<File><file_name>collection_data_inventory.csv</file_name></File><Inventory>"
    promise += b"<records>3</records></Inventory>"
    content = b"<C xmlns='x'><File_Area_Inventory>" + promise + b"</File_Area_Inventory></C>"
    server.on(f"/c/{label}", answers(200, content))
    for number in range(2):
        server.on(f"/c/{RDR.format(number)}.xml", answers(200, PDS4_LABEL))
    with pytest.raises(ShortListingError, match="ends after 2 of 3 rows"):
        listed(url, "rdr")


@pytest.mark.parametrize(
    "end", ["/../../x", "%2f..%2fx", "//host/x", r"\x", ".img?x=1", "#x", "\0", ".xml/../y"]
)
def test_no_identifier_leads_to_another_place(server, answers, listed, end):
    row = f"P,urn:nasa:pds:b:data:{RDR.format(1)}{end}::1.0\r\n"
    url = server.on("/c/collection.csv", answers(200, inventory_of(1) + row.encode()))
    server.on(f"/c/{RDR.format(0)}.xml", answers(200, PDS4_LABEL))
    found, reasons = listed(url, "rdr")
    asked = {path for path in server.asked if "rad0361" in path}
    assert (len(found), len(reasons)) == (1, 1) or end == "\0"
    assert all(path.startswith("/c/2p0") and ".." not in path for path in asked)


@pytest.mark.parametrize("name", ["../x.img", "/etc/passwd", "//host/x", "a%2fb", "..", "C:x"])
def test_no_data_file_of_a_label_is_in_another_place(server, answers, listed, name):
    archive = Archive("x", ArchiveKind.INVENTORY, server.url("/c/collection.csv"))
    server.on("/c/collection.csv", answers(200, inventory_of(2)))
    server.on(f"/c/{RDR.format(0)}.xml", answers(200, PDS4_LABEL))
    bad = PDS4_LABEL.replace(b"x.img", name.encode())
    server.on(f"/c/{RDR.format(1)}.xml", answers(200, bad))
    found, reasons = listed(archive, "rdr")
    assert (len(found), reasons) == (1, ["unreadable label"])
