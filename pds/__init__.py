"""The archive: which products exist, their bytes, their pixels."""
