"""Text from outside, made fit for a Postgres text column."""


def storable(text: str) -> str:
    """`text` with what Postgres cannot store (NUL, lone surrogates) replaced by question marks.

    The sentence about a damaged file may quote its bytes; it must not spoil the whole chunk.
    """
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
