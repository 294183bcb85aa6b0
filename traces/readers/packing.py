"""Files as they lie on disk: unpacked where that is known, else named, hashed on the way."""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import io
import lzma
import stat
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from tqdm import tqdm

from traces.errors import TraceError

READ_BYTES = 4 << 20
PROGRESS_FROM_BYTES = 64 << 20
"""Smaller files are read before anybody would look at a progress bar."""

GZIP, BZIP2, XZ = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00"
"""First bytes of what is unpacked on the way."""

ZIP = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
"""First bytes of a zip: with members, empty, split. NumPy's npz is one."""

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

TO_CSV = "save it as CSV, plain, gz, xz or bz2"

NAMED = (
    (codecs.BOM_UTF32_LE, "text in UTF-32", "UTF-8, as `iconv -f utf-32 -t utf-8` makes it"),
    (codecs.BOM_UTF32_BE, "text in UTF-32", "UTF-8, as `iconv -f utf-32 -t utf-8` makes it"),
    (b"\x28\xb5\x2f\xfd", "a zstd (.zst) file", "unpack it with `zstd -d`"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "unpack it with `lz4 -d`"),
    (b"\xff\x06\x00\x00sNaPpY", "a snappy file", "unpack it"),
    (b"\x1f\x9d", "a compress (.Z) file", "unpack it with `uncompress`"),
    (b"LZIP", "an lzip file", "unpack it with `lzip -d`"),
    (b"\x5d\x00\x00", "an lzma (.lzma) file", "unpack it with `xz -d`"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and name its files"),
    (b"Rar!\x1a\x07", "a rar archive", "unpack it and name its files"),
    (b"PAR1", "a Parquet file", "CSV, as `polars.read_parquet(name).write_csv(other)` writes it"),
    (b"ARROW1", "an Arrow (Feather) file", "CSV, as `polars.read_ipc(name).write_csv(other)`"),
    (b"Obj\x01", "an Avro file", "CSV, as `polars.read_avro(name).write_csv(other)` writes it"),
    (b"\x89HDF", "an HDF5 file", TO_CSV),
    (b"SQLite format 3\x00", "an SQLite database", TO_CSV),
    (b"\xd0\xcf\x11\xe0", "an old Office document", TO_CSV),
    (b"\x93NUMPY", "an npy array", "an npz that this package wrote, or CSV"),
    (b"\x80\x02", "a pickle, which is never loaded", TO_CSV),
    (b"\x80\x03", "a pickle, which is never loaded", TO_CSV),
    (b"\x80\x04", "a pickle, which is never loaded", TO_CSV),
    (b"\x80\x05", "a pickle, which is never loaded", TO_CSV),
    (b"%PDF", "a PDF document", TO_CSV),
    (b"\x89PNG", "a picture", TO_CSV),
    (b"\x7fELF", "a program", TO_CSV),
)
"""First bytes, what a file that begins with them is, and what is accepted in its place."""


class Readable(Protocol):
    """Something that bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`; empty at the end of the file."""
        ...


class HashedFile(io.RawIOBase):
    """A file that hashes what is read from it and shows how far it is."""

    def __init__(self, raw: BinaryIO, size_bytes: int, name: str) -> None:
        super().__init__()
        self.raw = raw
        self.digest = hashlib.sha256()
        self.bar = tqdm(
            total=size_bytes,
            desc=name,
            unit="B",
            unit_scale=True,
            leave=False,
            file=sys.stderr,
            # None: shown on a terminal only.
            disable=True if size_bytes < PROGRESS_FROM_BYTES else None,
        )

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`, which are hashed and counted; empty at the end."""
        data = self.raw.read(size)
        self.digest.update(data)
        self.bar.update(len(data))
        return data

    def readable(self) -> bool:
        """True: it may be read, which is what io.RawIOBase asks of its subclasses."""
        return True

    def sha256(self) -> str:
        """Fingerprint of the whole file, as hex; reads what is left of it."""
        while self.read(READ_BYTES):
            pass
        self.bar.close()
        return self.digest.hexdigest()


class Recoded:
    """UTF-16 text as UTF-8."""

    def __init__(self, source: Readable) -> None:
        self.source = source
        self.decoder = codecs.getincrementaldecoder("utf-16")("replace")

    def read(self, size: int = -1, /) -> bytes:
        """The next text; empty at the end of the file."""
        while True:
            piece = self.source.read(size)
            text = self.decoder.decode(piece, final=not piece)
            if text or not piece:
                return text.encode("utf-8", "replace")


class Rest:
    """What was read from a file to look at it, and then the rest of the file."""

    def __init__(self, first: bytes, source: Readable) -> None:
        self.first, self.source = io.BytesIO(first), source

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most `size`; empty at the end of the file."""
        return self.first.read(size) or self.source.read(size)


def magic(path: Path) -> bytes:
    """The first bytes of a regular file.

    Raises:
        TraceError: it is none, such as a folder or a pipe, or cannot be opened.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode):
            with path.open("rb") as file:
                return file.read(64)
    except (OSError, ValueError) as error:
        found = f"{path} ({getattr(error, 'strerror', error)})"
        raise TraceError(f"trace file: got {found}; accepted: a readable file") from error
    if stat.S_ISDIR(mode):
        raise TraceError(f"trace file: got {path}, a directory; accepted: names of its files")
    found = f"{path}, a pipe or device, not a regular file"
    raise TraceError(f"trace file: got {found}; accepted: a file on disk")


def unpacked(file: HashedFile, path: Path) -> Readable:
    """The text of a file: decompressed, and in UTF-8 if it was UTF-16.

    Raises:
        TraceError: an archive or something else that holds no lines; says what it is.
    """
    inner = decompressed(file, magic(path))
    first = inner.read(READ_BYTES)
    # Compressed streams may give a few bytes only.
    while 0 < len(first) < tarfile.BLOCKSIZE and (more := inner.read(READ_BYTES)):
        first += more
    refuse_unreadable(str(path), first)
    whole = Rest(first, inner)
    # UTF-32's mark begins with UTF-16's, and has been refused.
    return Recoded(whole) if first.startswith(UTF_16) else whole


def decompressed(file: HashedFile, first: bytes) -> Readable:
    """The content of a file that begins with `first`: unpacked if that is a known mark."""
    if first.startswith(GZIP):
        return gzip.GzipFile(fileobj=cast(BinaryIO, file))
    if first.startswith(XZ):
        return lzma.LZMAFile(cast(BinaryIO, file))
    if first.startswith(BZIP2) and first[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return bz2.BZ2File(cast(BinaryIO, file))
    return file


def refuse_unreadable(source: str, first: bytes) -> None:
    """Raise a TraceError that names what a file that begins with `first` is, unless it is text."""
    for mark, found, accepted in NAMED:
        if first.startswith(mark):
            raise TraceError(f"format of {source}: got {found}; accepted: {accepted}")
    if is_tar(first[: tarfile.BLOCKSIZE]):
        accepted = "unpack it and name its files"
        raise TraceError(f"format of {source}: got a tar archive; accepted: {accepted}")
    if first.startswith((GZIP, XZ, *ZIP)):
        accepted = "unpack it, once more if it was packed twice"
        raise TraceError(f"format of {source}: got a packed file within; accepted: {accepted}")
    if not first.startswith(UTF_16) and b"\x00" in first[:512]:
        found = "zero bytes: binary data, or UTF-16 without its mark"
        accepted = "text in UTF-8, or in UTF-16 with a byte order mark"
        raise TraceError(f"format of {source}: got {found}; accepted: {accepted}")


def is_tar(header: bytes) -> bool:
    """Whether this is the header of a tar archive, by its checksum."""
    try:
        tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def refuse_foreign_zip(path: Path) -> None:
    """Raise a TraceError that names what a zip holds, unless that is a trace of ours (npz)."""
    ours = "an npz that this package wrote"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        found = f"a damaged zip archive ({error})"
        raise TraceError(f"format of {path}: got {found}; accepted: {ours}") from error
    if "about.npy" in names:
        return
    listed = f"{', '.join(names[:3])}{', ...' * (len(names) > 3)}" or "nothing"
    found, accepted = f"a zip archive with {listed}", f"{ours}; unpack others and name their files"
    if names and all(name.endswith(".npy") for name in names):
        found, accepted = f"an npz of others, with {listed}", f"{ours}, or CSV"
    elif any(name.startswith(("xl/", "content.xml")) for name in names):
        found, accepted = "a spreadsheet (xlsx or ods)", TO_CSV
    raise TraceError(f"format of {path}: got {found}; accepted: {accepted}")
