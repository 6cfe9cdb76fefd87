"""What a sealed secret is bound to: table, column and row, so that a ciphertext copied elsewhere does not open."""

from __future__ import annotations


def private_key(account_id: str, webhook_id: str, credential_id: str) -> str:
    """A webhook's bearer key, which the guide calls its Private Key."""
    return f"webhook_credentials|private_key|{account_id}|{webhook_id}|{credential_id}"


def certificate_key(account_id: str, webhook_id: str, certificate_id: str) -> str:
    """A webhook's client certificate together with its private key."""
    return f"webhook_credentials|certificate|{account_id}|{webhook_id}|{certificate_id}"


def authority_key(authority_id: str) -> str:
    """The private key of one of our certificate authorities."""
    return f"authorities|key|{authority_id}"


def account_secret(account_id: str, secret_id: str) -> str:
    """One of an account's API secrets."""
    return f"account_secrets|secret|{account_id}|{secret_id}"


def extras(account_id: str, webhook_id: str) -> str:
    """Of a webhook's static headers and signing keys."""
    return f"webhooks|extras|{account_id}|{webhook_id}"


def flash(session: bytes, path: str) -> str:
    """What a page shows one session once."""
    return f"sessions|flash|{session.hex()}|{path}"


def known_browser() -> str:
    """What a browser keeps to show that somebody signed in with it before."""
    return "cookie|known_browser"


def oidc_errand() -> str:
    """What a browser keeps while it is at the OpenID Connect provider."""
    return "cookie|oidc_errand"
