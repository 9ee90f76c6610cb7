"""The label of a PDS3 index table: where its table is, and the shape of the table's rows."""

import re
from dataclasses import dataclass, field

from mernet.pds import odl
from mernet.pds.errors import BadIndexError, CutLabelError
from mernet.pds.label import whole_or_none
from mernet.pds.odl import Block, Quantity
from mernet.pds.plain_name import is_plain_file_name
from mernet.printable import printable

END = re.compile(rb"(?:^|[\r\n])[ \t]*END[ \t]*(?:$|[\r\n])", re.IGNORECASE)
MAX_LABEL_BYTES = 1024 * 1024  # real labels have under 30 kB
MAX_FIELDS = 10_000  # real tables have 59
MAX_ROW_BYTES = 64 * 1024  # real rows have under 1 kB
MAX_ROWS = 100_000_000
# Of several tables in a label, the one of these names is the index.
TABLES = ("INDEX_TABLE", "CUMULATIVE_INDEX_TABLE", "TABLE", "RDR_INDEX_TABLE", "EDR_INDEX_TABLE")


@dataclass(frozen=True, slots=True)
class TableShape:
    """What a label says of its table.

    Attributes:
        table_name: The table's file name.
        fields: The number of fields in a row that is divided by separators.
        first_field: The number of each column's first field.
        places: The position of each column's first item in a row of fixed width: first byte,
            number of bytes, and bytes from one item to the next. Empty if the label does not say.
        rows: How many rows the label promises, None if it does not say.
        row_bytes: The size of a row as the label says, None if it does not say.
        skip_bytes: The bytes before the first row; `skip_rows` the lines before it.
    """

    table_name: str
    fields: int
    first_field: dict[str, int]
    places: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    rows: int | None = None
    row_bytes: int | None = None
    skip_bytes: int = 0
    skip_rows: int = 0


def parse_label(data: bytes, name: str) -> TableShape:
    """Read the shape of a table from its index label (ODL).

    A column with ITEMS has that many fields, which shifts all columns after it.

    Raises:
        CutLabelError: The label ends before its END.
        BadIndexError: The label is not usable.
    """
    if len(data) > MAX_LABEL_BYTES:
        raise BadIndexError(
            f"{name} has more than {MAX_LABEL_BYTES} bytes, too many for the label of a table; "
            "check that it is the right file"
        )
    try:
        label = odl.parse(data)
    except odl.OdlError as error:
        if not END.search(data):
            raise CutLabelError(
                f"{name} ends before its END ({printable(error)}); try again later, or use a mirror"
            ) from error
        raise _not_a_label(name, printable(error)) from error
    table, pointer = _table_and_pointer(label, name)
    table_name, skip_bytes, skip_rows = _target(pointer, label, name)
    first_field, places, fields = _columns(table, name)
    return TableShape(
        table_name=table_name,
        fields=fields,
        first_field=first_field,
        places=places,
        rows=_promised_rows(table, label, skip_rows, name),
        row_bytes=_count(table, "ROW_BYTES", name) or _count(label, "RECORD_BYTES", name),
        skip_bytes=skip_bytes,
        skip_rows=skip_rows,
    )


def _promised_rows(table: Block, label: Block, skip_rows: int, name: str) -> int | None:
    """Return the number of rows by ROWS and by FILE_RECORDS, whichever is more.

    A record is a row, unless the label gives them different sizes.
    """
    rows, records = _count(table, "ROWS", name), _count(label, "FILE_RECORDS", name)
    sizes = {_count(table, "ROW_BYTES", name), _count(label, "RECORD_BYTES", name)} - {None}
    if records is None or (rows is not None and len(sizes) > 1):
        return rows
    return max(rows or 0, records - skip_rows)


def _not_a_label(name: str, problem: str) -> BadIndexError:
    return BadIndexError(
        f"{name} is not a label of an index table ({problem}); give one, or a table"
    )


def _table_and_pointer(label: Block, name: str) -> tuple[Block, object]:
    """Return the table that the label describes, and its pointer."""
    found = [block for block in label.walk() if block.name.endswith("TABLE")]
    tables = sorted(found, key=lambda table: table.name not in TABLES)
    for table in tables:
        pointers = label.all(f"^{table.name}")
        if pointers:
            return table, pointers[0]
    if tables:
        raise _not_a_label(name, f"it has no pointer ^{tables[0].name}")
    raise _not_a_label(name, "it has no OBJECT = INDEX_TABLE")


def _target(pointer: object, label: Block, name: str) -> tuple[str, int, int]:
    """Return the table's file name, and the bytes and rows in it before the first row."""
    values = pointer if isinstance(pointer, list) else [pointer]
    file_name = values[0] if values else None
    if not isinstance(file_name, str) or not is_plain_file_name(file_name):
        raise _not_a_label(
            name, f"its table is {printable(repr(file_name), 80)}, which is not a plain file name"
        )
    start = values[1] if len(values) > 1 else 1
    number = start.value if isinstance(start, Quantity) else start
    if not isinstance(number, int) or not 1 <= number <= MAX_ROWS * 10:
        raise _not_a_label(name, f"its table begins at {printable(repr(number), 80)}")
    if isinstance(start, Quantity) and start.unit.startswith("BYTE"):
        return file_name, number - 1, 0
    if label.get("RECORD_TYPE") == "FIXED_LENGTH" or number == 1:
        return file_name, 0, number - 1
    raise _not_a_label(name, f"its table begins at record {number} of records without a size")


def _columns(
    table: Block, name: str
) -> tuple[dict[str, int], dict[str, tuple[int, int, int]], int]:
    """Return each column's first field and place, and the number of fields."""
    first_field: dict[str, int] = {}
    places: dict[str, tuple[int, int, int]] = {}
    fields = 0
    for column in table.blocks_named("COLUMN"):
        column_name = column.get("NAME")
        if not isinstance(column_name, str) or not column_name:
            raise _not_a_label(name, f"column {len(first_field) + 1} has no NAME")
        items = _count(column, "ITEMS", name) or 1
        key = column_name.upper()
        first_field.setdefault(key, fields)
        fields += items
        if fields > MAX_FIELDS:
            raise _not_a_label(name, f"a row has more than {MAX_FIELDS} fields")
        start, size = _count(column, "START_BYTE", name), _count(column, "BYTES", name)
        if start and size:
            item = _count(column, "ITEM_BYTES", name) or size // items
            places.setdefault(key, (start - 1, item, _count(column, "ITEM_OFFSET", name) or item))
    if not first_field:
        raise _not_a_label(name, "its table has no columns")
    return first_field, places, fields


def _count(block: Block, key: str, name: str) -> int | None:
    """Return a number that is not negative, None if the label does not say."""
    value = block.get(key)
    number = whole_or_none(value)
    if number is None:
        return None
    if not 0 <= number <= MAX_ROWS:
        raise _not_a_label(name, f"{key} = {printable(value, 40)}")
    return number
