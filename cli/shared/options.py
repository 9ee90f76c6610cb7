"""Options that service and learning commands share."""

from typing import Annotated

import typer

from mernet.pds.selection import ProductKind

Mirror = Annotated[
    str | None,
    typer.Option(help="URL or path that replaces the base address of a named archive."),
]
ProductsWanted = Annotated[
    ProductKind, typer.Option(help="Raw products (edr), derived ones (rdr), or any.")
]
