"""Where a request's body comes from when it is handed on without being kept."""

from django.http import HttpRequest

from router.forwarding.messages import Readable


def streamed_body(request: HttpRequest) -> tuple[bytes | Readable, int | None]:
    """Return the body to be read as it arrives, and its length if the client announced one.

    Django reads a body sent in chunks as empty; where the server says that it ends its input (gunicorn does) it is
    taken from there. Afterwards ``request.body`` can not be read any more.
    """
    length = request.META.get("CONTENT_LENGTH")
    if length and length.isascii() and length.isdigit():
        return (request, int(length)) if int(length) else (b"", None)
    chunked = request.META.get("HTTP_TRANSFER_ENCODING", "").lower() == "chunked"
    if chunked and request.META.get("wsgi.input_terminated"):
        return request.META["wsgi.input"], None
    return b"", None
