"""What a caller did wrong. What a *receiver* did is a value (`model.Outcome`), never an exception.

GridhookError
|-- Invalid          a field of the input breaks a rule           422 (400 when it cannot be parsed at all)
|   `-- Unreadable   the body is not what it claims to be         400
|-- Unauthenticated  who is calling is not proven                 401
|-- Forbidden        who is calling may not do this               403
|-- NotFound         no such thing, or another account's          404
|-- Conflict         it would contradict what is already stored   409
|-- Stale            it was changed by somebody else meanwhile         412
|-- TooLarge         over a byte or count limit                   413
|-- TooMany          over a rate limit; says when to come back    429
|-- Unavailable      we cannot do it now; nothing was kept        503
`-- Misconfigured    a setting, a key or the database is wrong    the process refuses to start
"""

from __future__ import annotations


class GridhookError(Exception):
    """Base of all; `str()` is written for the person who must act."""

    status = 500


class Invalid(GridhookError):
    """`field` (a name, or a JSON pointer below the body) breaks a rule; `message` says which, and the remedy."""

    status = 422

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class Unreadable(Invalid):
    """The body cannot be read at all: bad JSON, wrong encoding, wrong content type's shape."""

    status = 400


class Unauthenticated(GridhookError):
    """The caller is not who it says, or says nothing. One text for every cause: it must not tell which."""

    status = 401


class Forbidden(GridhookError):
    status = 403


class NotFound(GridhookError):
    status = 404


class Conflict(GridhookError):
    status = 409


class Stale(GridhookError):
    """The caller changes what it has seen (If-Match), and somebody else changed it since: read it again, then decide."""

    status = 412


class TooLarge(GridhookError):
    status = 413


class TooMany(GridhookError):
    """`retry_after`: whole seconds after which the same call can succeed."""

    status = 429

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(GridhookError):
    """`retry_after`: whole seconds after which to try again; the call left nothing behind."""

    status = 503

    def __init__(self, message: str, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Misconfigured(GridhookError):
    """The process cannot start, or a command cannot run, until the operator changes what the text names."""
