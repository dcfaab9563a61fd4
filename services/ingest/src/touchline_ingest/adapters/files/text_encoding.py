"""The encoding of a history file: checked before the first row is read, never guessed.

A file that is not text in its declared encoding is refused. Replacing undecodable bytes would merge customers such as
``café`` and ``cafè``.
"""

import codecs
from pathlib import Path

from touchline_runtime.errors import ConfigurationError

UTF8 = "utf-8"
UTF8_BOM = codecs.BOM_UTF8
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_NOT_TEXT = {
    b"\x1f\x8b": "is compressed: decompress it first (gunzip)",
    b"PK\x03\x04": "is a ZIP archive or an Excel workbook: unpack it, or save it as CSV UTF-8",
    b"PAR1": "is a Parquet file: export it as CSV or NDJSON",
}
"""By a file's first bytes."""
_CHUNK = 1 << 20
_NO_CHARSETS = frozenset(("idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7", "mbcs"))


def known_encoding(name: str | None) -> str:
    """The name of an encoding as Python has it; UTF-8 when none is given.

    Raises:
        ConfigurationError: there is none of that name, or its line breaks and commas are not those of ASCII.
    """
    if name is None:
        return UTF8
    try:
        found = codecs.lookup(name)
        plain = '\n,;\t"{}'.encode(found.name) == b'\n,;\t"{}'
    except (LookupError, UnicodeError, TypeError):
        raise ConfigurationError(f"--encoding {name}: is not known; write utf-8, latin-1, windows-1252 …") from None
    if found.name.startswith("utf-8"):
        return UTF8
    if found.name in _NO_CHARSETS or not plain:
        raise ConfigurationError(f"--encoding {name}: is not read here; convert the file: {_iconv(found.name)}")
    return found.name


def check_text(path: Path, encoding: str) -> None:
    """Read a file once and check that it is text in that encoding.

    Raises:
        ConfigurationError: it is not; with the line and what to do.
    """
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    line = 1
    with path.open("rb") as raw:
        chunk = raw.read(_CHUNK)
        if chunk.startswith(_UTF16):
            raise ConfigurationError(f"{path} is in UTF-16, which is not read here: {_iconv('UTF-16')}")
        for mark, remedy in _NOT_TEXT.items():
            if chunk.startswith(mark):
                raise ConfigurationError(f"{path} {remedy}")
        if encoding != UTF8 and chunk.startswith(UTF8_BOM):
            raise ConfigurationError(f"{path} begins with a mark of UTF-8: leave --encoding {encoding} out")
        while True:
            if b"\0" in chunk:
                line += chunk.count(b"\n", 0, chunk.index(b"\0"))
                raise ConfigurationError(
                    f"{path}: line {line} holds a NUL byte: is it in UTF-16? Convert it: {_iconv('UTF-16')}"
                )
            pending = decoder.getstate()[0]
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                seen = pending + chunk
                line += seen.count(b"\n", 0, error.start) - pending.count(b"\n")
                raise ConfigurationError(_remedy(path, encoding, line, seen, error.start)) from None
            if not chunk:
                return
            line += chunk.count(b"\n")
            chunk = raw.read(_CHUNK)


def _remedy(path: Path, encoding: str, line: int, seen: bytes, at: int) -> str:
    begin = seen.rfind(b"\n", 0, at) + 1
    end = seen.find(b"\n", at)
    sample = seen[max(begin, at - 30) : end if 0 <= end < at + 30 else at + 30]
    what = f"{path}: line {line} is not {encoding}"
    if encoding != UTF8:
        return f"{what}: say which encoding it is in with --encoding"
    read = sample.decode("windows-1252", "replace").strip()
    return (
        f"{what}. Nothing was imported. As Windows-1252 it reads {read!r}: if that is right, add --encoding "
        "windows-1252 (or latin-1); else say which encoding it is in"
    )


def _iconv(encoding: str) -> str:
    return f"iconv -f {encoding} -t UTF-8 FILE > NEW-FILE"
