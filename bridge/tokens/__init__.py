"""JSON Web Tokens: verifying them, minting them, and the secret that signs them."""

from bridge.tokens.authority import TokenAuthority
from bridge.tokens.claims import Principal
from bridge.tokens.config import KeyConfig
from bridge.tokens.keys import load_or_create_secret
from bridge.tokens.minting import MintedToken
from bridge.tokens.revocations import Revocation, Revocations

__all__ = [
    "KeyConfig",
    "MintedToken",
    "Principal",
    "Revocation",
    "Revocations",
    "TokenAuthority",
    "load_or_create_secret",
]
