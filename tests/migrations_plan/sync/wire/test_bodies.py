"""Bodies: compressed where it pays, bounded before and after, and nothing but gzip."""

import gzip
import tracemalloc
import zlib

import pytest

from migrations_plan.sync.wire.bodies import accepts_gzip, pack, unpack
from migrations_plan.sync.wire.refusals import Refusal


@pytest.mark.parametrize("size", [0, 999, 1_000, 50_000])
def test_what_is_packed_is_unpacked(size: int) -> None:
    body = b"x" * size
    packed, headers = pack(body)
    assert unpack(packed, headers.get("Content-Encoding", ""), 50_000) == body
    assert ("Content-Encoding" in headers) == (size >= 1_000)


def test_anybody_s_gzip_is_unpacked() -> None:
    assert unpack(gzip.compress(b"{}"), " GZIP ", 100) == b"{}"
    assert gzip.decompress(pack(b"x" * 5_000)[0]) == b"x" * 5_000


@pytest.mark.parametrize("encoding", ["", "identity", "gzip"])
def test_the_limit_itself_is_accepted_and_one_more_is_not(encoding: str) -> None:
    def sent(size: int) -> bytes:
        body = bytes(size % 251 for size in range(size))
        return gzip.compress(body) if encoding == "gzip" else body

    assert len(unpack(sent(10_000), encoding, 10_000)) == 10_000
    with pytest.raises(Refusal, match="10000 bytes") as refused:
        unpack(sent(10_001), encoding, 10_000)
    assert refused.value.status == 413


def test_a_bomb_is_not_unpacked() -> None:
    bomb = zlib.compressobj(9, wbits=31)
    body = b"".join(bomb.compress(bytes(1_000_000)) for _ in range(200)) + bomb.flush()
    assert len(body) < 250_000
    tracemalloc.start()
    with pytest.raises(Refusal) as refused:
        unpack(body, "gzip", 1_000_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert refused.value.status == 413
    assert peak < 10_000_000


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", gzip.compress(b"{}")[:-1], gzip.compress(b"{}") + b"more", gzip.compress(b"{") + gzip.compress(b"}")],
    ids=["nothing", "plain", "ends early", "more", "two"],
)
def test_what_is_no_single_complete_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal, match="gzip") as refused:
        unpack(body, "gzip", 1_000)
    assert refused.value.status == 400


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip"])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(Refusal, match=encoding) as refused:
        unpack(b"{}", encoding, 1_000)
    assert refused.value.status == 415


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("gzip", True),
        ("gzip, deflate", True),
        ("br, GZIP;q=0.5", True),
        ("deflate, gzip ; q=1", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000, br", False),
        ("xgzip", False),
    ],
)
def test_an_answer_is_compressed_for_those_who_ask(header: str, accepted: bool) -> None:
    assert accepts_gzip(header) == accepted
