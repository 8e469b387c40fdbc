"""A person's own tables: JSON Lines with a text field, Parquet with a text column. Each row is a document.

These are files that a person chose, so what is wrong with them is said, not skipped: BadInput.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from sae.corpus.extract.types import Piece
from sae.errors import BadInput


def extract_jsonl(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """A document per line: the string under option `field` (default "text")."""
    field = options.get("field", "text")
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise BadInput(f"{path}, line {number}: not JSON ({error})") from error
            if not isinstance(row, dict) or not isinstance(row.get(field), str):
                raise BadInput(f"{path}, line {number}: no string under {field!r}; name the field with --field")
            yield Piece(str(number), row[field])


def extract_parquet(path: Path, options: Mapping[str, str]) -> Iterator[Piece]:
    """A document per row: the string in column `field` (default "text"); null rows are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    field = options.get("field", "text")
    try:
        table = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise BadInput(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from error
    schema = table.schema_arrow
    if field not in schema.names:
        raise BadInput(f"{path}: no column {field!r} (columns: {', '.join(schema.names)}); name it with --field")
    if not (pa.types.is_string(schema.field(field).type) or pa.types.is_large_string(schema.field(field).type)):
        raise BadInput(f"{path}: column {field!r} is {schema.field(field).type}, not text; name another with --field")
    number = 0
    for batch in table.iter_batches(batch_size=1024, columns=[field]):
        for text in batch.column(0).to_pylist():
            number += 1
            if text is not None:
                yield Piece(str(number), text)
