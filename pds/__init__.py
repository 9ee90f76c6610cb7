"""Archives: list their products, fetch the files, decode the pixels."""
