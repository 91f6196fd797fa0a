"""Arrays to compressed bytes and back: what is measured first, and only then inflated.

Each codec is one zstd frame around bytes that compress well. ``zstd``: the array as it is.
``gaps``: rows as distances, byte plane by byte plane. ``base3``, ``base5`` and ``base15``: codes of
few levels as the digits of bytes, because zstd spends at least one bit on every byte that it is
given: so packed, it stays within a few percent of the codes' entropy.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import zstandard

from latecomer.errors import Undecodable

Bytes = npt.NDArray[np.uint8]

#: Level 1: float noise hardly compresses, and devices pay for every cycle; on packed codes higher
#: levels save nothing (measured: 0.870 bits per ternary code, 0.902 at level 3, entropy 0.808).
ZSTD_LEVEL = 1

#: Digits that fit a byte, by their base.
DIGITS: Mapping[int, int] = {3: 5, 5: 3, 15: 2}

#: A row's number has four bytes.
ROW_BYTES = 4


def compressed(raw: bytes) -> bytes:
    """One frame that states its content's size."""
    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_content_size=True).compress(raw)


def decompressed(data: memoryview, expected_bytes: int, name: str) -> bytes:
    """Inflate one frame whose own header promises exactly the expected size.

    zstandard ignores ``max_output_size`` where the frame states its size, so the frame's word is
    checked before a byte is inflated.
    """
    try:
        if zstandard.frame_content_size(data) != expected_bytes:
            raise Undecodable("bad_compression", f"{name!r}: the frame's size differs")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=expected_bytes)
    except zstandard.ZstdError as error:
        raise Undecodable("bad_compression", f"{name!r}: {error}") from error


def gaps(rows: npt.NDArray[np.uint32]) -> bytes:
    """The first row and the distances from each to the next: all lowest bytes, then the next."""
    distances = np.diff(rows, prepend=np.uint32(0)).astype("<u4")
    return distances.view(np.uint8).reshape(-1, ROW_BYTES).T.tobytes()


def rows_from_gaps(planes: bytes, name: str) -> npt.NDArray[np.uint32]:
    """Inverse of ``gaps``; sums in 64 bits, so that no row wraps around to a smaller one."""
    raw = np.frombuffer(planes, np.uint8).reshape(ROW_BYTES, -1)
    rows = np.cumsum(np.ascontiguousarray(raw.T).view("<u4")[:, 0], dtype=np.uint64)
    if len(rows) and int(rows[-1]) >= 2**32:
        raise Undecodable("bad_tensors", f"{name!r}: its rows leave 32 bits")
    return rows.astype(np.uint32)


def packed_bytes(count: int, base: int) -> int:
    """How many bytes so many codes are packed into."""
    return -(-count // DIGITS[base])


def packed(codes: npt.NDArray[np.int8], base: int) -> bytes:
    """Codes from -(base - 1) / 2 up as digits from 0 up, the first one lowest in its byte."""
    digits = np.zeros((packed_bytes(codes.size, base), DIGITS[base]), np.uint8)
    digits.reshape(-1)[: codes.size] = codes.reshape(-1) + np.int8(base // 2)
    weights = (base ** np.arange(DIGITS[base])).astype(np.uint8)
    found: Bytes = (digits * weights).sum(axis=1, dtype=np.uint8)
    return found.tobytes()


def unpacked(raw: bytes, count: int, base: int, name: str) -> npt.NDArray[np.int8]:
    """Inverse of ``packed``: (count,) codes; digits beyond them are not looked at."""
    found = np.frombuffer(raw, np.uint8)
    if found.size and int(found.max()) >= base ** DIGITS[base]:
        raise Undecodable("bad_tensors", f"{name!r}: a byte is no digits of base {base}")
    codes: npt.NDArray[np.int8] = _table(base)[found].reshape(-1)[:count]
    return codes


def _table(base: int) -> npt.NDArray[np.int8]:
    """(bytes, digits): what every byte means."""
    every = np.arange(base ** DIGITS[base])[:, None]
    digits = every // base ** np.arange(DIGITS[base]) % base
    return (digits - base // 2).astype(np.int8)
