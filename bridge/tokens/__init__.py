"""JSON Web Tokens: verifying them, minting them, and the secret that signs them."""

from bridge.tokens.authority import TokenAuthority
from bridge.tokens.claims import Principal
from bridge.tokens.keys import KeyConfig
from bridge.tokens.minting import MintedToken
from bridge.tokens.secret import load_or_create_secret

__all__ = [
    "KeyConfig",
    "MintedToken",
    "Principal",
    "TokenAuthority",
    "load_or_create_secret",
]
