"""Why a request as a whole is not taken.

::

    RequestRefused
    ├── BodyTooLarge          413
    ├── NotThisMediaType      415
    └── NotReadable           422   not JSON, not an object or array, too many items, a bad header

What is wrong with one touchpoint among many is not an exception: it is a :class:`Rejected` verdict.
"""


class RequestRefused(Exception):  # noqa: N818  (the root of the tree: a refusal, not an error of ours)
    """A request is not taken.

    Attributes:
        status: the HTTP status it is answered with.
        type: a short constant for programs.
    """

    status = 422
    type = "not-readable"


class BodyTooLarge(RequestRefused):
    """More bytes than the limit, before or after decompression."""

    status = 413
    type = "too-large"


class NotThisMediaType(RequestRefused):
    """A content type, character set or content encoding that is not read here."""

    status = 415
    type = "media-type"


class NotReadable(RequestRefused):
    """The body, or a header that is needed to read it, makes no sense as a whole."""
