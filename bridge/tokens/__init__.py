"""JSON Web Tokens: verifying them, minting them, and the secret that signs them."""

from bridge.tokens.authority import TokenAuthority
from bridge.tokens.claims import Principal
from bridge.tokens.config import KeyConfig
from bridge.tokens.keys import load_or_create_secret
from bridge.tokens.minting import MintedToken

__all__ = [
    "KeyConfig",
    "MintedToken",
    "Principal",
    "TokenAuthority",
    "load_or_create_secret",
]
