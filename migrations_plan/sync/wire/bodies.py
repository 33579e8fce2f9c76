"""Bodies as they travel: JSON, compressed where that pays, and never larger than agreed, not even once unpacked."""

import zlib

from migrations_plan.sync.wire import refusals

GZIP = "gzip"
WORTH_BYTES = 1_000
"""What is shorter is sent as it is."""
LEVEL = 1
"""The fastest; documents of the same form shrink to a tenth at that."""
_GZIP_WINDOW = 31


def pack(body: bytes) -> tuple[bytes, dict[str, str]]:
    """Return a body as it is sent, and the headers that say how."""
    headers = {"Content-Type": "application/json"}
    if len(body) < WORTH_BYTES:
        return body, headers
    packer = zlib.compressobj(LEVEL, wbits=_GZIP_WINDOW)
    return packer.compress(body) + packer.flush(), {**headers, "Content-Encoding": GZIP}


def unpack(body: bytes, encoding: str, limit: int) -> bytes:
    """Return the JSON of a body that was sent as ``encoding``; raise Refusal if it is none or above the limit.

    No more than the limit is ever unpacked, whatever a few bytes may claim to hold.
    """
    if len(body) > limit:
        raise refusals.too_large(limit)
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return body
    if encoding != GZIP:
        raise refusals.Refusal(415, "encoding", f"Content-Encoding {encoding!r} is not understood. Use gzip or none.")
    unpacker = zlib.decompressobj(wbits=_GZIP_WINDOW)
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise refusals.malformed(f"The body is no gzip: {error}.") from error
    if len(unpacked) > limit:
        raise refusals.too_large(limit)
    if not unpacker.eof or unpacker.unused_data:
        raise refusals.malformed("The body is no single, complete gzip member.")
    return unpacked


def accepts_gzip(header: str) -> bool:
    """Return whether an ``Accept-Encoding`` header asks for gzip."""
    for offer in header.lower().replace(" ", "").split(","):
        name, _, quality = offer.partition(";q=")
        if name == GZIP:
            return quality.strip("0.") != "" or not quality
    return False
