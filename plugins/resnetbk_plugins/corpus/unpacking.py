"""Files as plain text in the cache: what `.gz` compresses, a field of JSON lines, a column of Parquet."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import json
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from resnetbk.cache import cached_file
from resnetbk.errors import StorageError, UserError, nearest, one_line, printable
from resnetbk_plugins.corpus.finding import state


def plain(corpus: str, file: Path, field: str, separator: str) -> Path:
    """`file` itself, or its text in the cache if it is compressed or its rows have a `field` to be read, with
    `separator` after each.

    Raises UserError for rows without that field and, of Parquet, without the extra; StorageError for files
    that are damaged or cannot be read.
    """
    packed, parquet = file.suffix == ".gz", file.suffix == ".parquet"
    if not (field or packed or parquet):
        return file
    key = hashlib.sha256(json.dumps([state(str(file)), field, separator]).encode()).hexdigest()

    def write(text: BinaryIO) -> None:
        if field or parquet:
            rows = _column(corpus, file, field) if parquet else _lines(corpus, file, field)
            text.writelines(row + separator.encode() for row in rows)
        else:
            with _opened(corpus, file) as opened:
                shutil.copyfileobj(opened, text)

    return cached_file(f"texts/plain-{key}", write)


@contextmanager
def _opened(corpus: str, file: Path) -> Iterator[BinaryIO]:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            yield opened  # type: ignore[misc]  # a GzipFile is a BinaryIO to all who read
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"{corpus}: cannot read {printable(str(file))}: {one_line(error)}") from error


def _lines(corpus: str, file: Path, field: str) -> Iterator[bytes]:
    """The field in each line of JSON; not where it is null, nor of empty lines."""
    with _opened(corpus, file) as opened:
        for number, line in enumerate(opened, 1):
            place = f"{corpus}: {printable(str(file))}:{number}:"
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise UserError(
                    f"{place} no line of JSON, of which field = {field!r} is to be read"
                ) from error
            if not isinstance(row, dict) or field not in row:
                raise UserError(f"{place} has no field {field!r}{nearest(field, _texts(row))}")
            if row[field] is not None:
                yield _encoded(place, field, row[field])


def _encoded(place: str, field: str, text: object) -> bytes:
    if not isinstance(text, str):
        raise UserError(f"{place} field {field!r} holds {type(text).__name__}, not text")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{place} field {field!r} holds half of a surrogate pair, which is no text"
        ) from error


def _texts(row: object) -> list[str]:
    """The names of the fields that hold text."""
    return [key for key, value in row.items() if isinstance(value, str)] if isinstance(row, dict) else []


def _column(corpus: str, file: Path, field: str) -> Iterator[bytes]:
    """The column in each row, unless it is null."""
    if find_spec("pyarrow") is None:
        raise UserError(f'{corpus}: {file} needs the package pyarrow: pip install "resnetbk[parquet]"')
    name = printable(str(file))
    try:
        with importlib.import_module("pyarrow.parquet").ParquetFile(file) as table:
            types = {column.name: str(column.type) for column in table.schema_arrow}
            texts = [column for column, type_ in types.items() if type_ in ("string", "large_string")]
            if field not in texts:
                which = f"has no column of text {field!r}" if field else "is a table: name a column by field"
                raise UserError(f"{corpus}: {name} {which}{nearest(field, texts)}")
            for batch in table.iter_batches(1024, columns=[field]):
                for text in batch.column(0).to_pylist():
                    if text is not None:
                        yield text.encode()
    except UserError:
        raise
    except Exception as error:  # of the library, whose errors have no common base
        raise StorageError(f"{corpus}: cannot read {name}: {one_line(error)}") from error
