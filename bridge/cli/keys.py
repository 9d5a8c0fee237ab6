"""Keys: from the settings, or from the secret that the first start on a loopback made."""

from bridge.settings import Settings
from bridge.tokens import KeyConfig, TokenAuthority, load_or_create_secret


def authority(settings: Settings) -> TokenAuthority:
    """Make the token authority that the settings describe. Raises StartError."""
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
    if not settings.key_configured:
        secret = load_or_create_secret(settings.data_dir)
    return TokenAuthority(
        KeyConfig(
            algorithm=settings.jwt_algorithm,
            secret=secret,
            public_key=settings.jwt_public_key_pem,
            private_key=settings.jwt_private_key_pem,
            jwks=settings.jwt_jwks,
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            leeway_seconds=settings.jwt_leeway_seconds,
            default_ttl_seconds=settings.token_ttl_seconds,
            max_ttl_seconds=settings.token_max_ttl_seconds,
        )
    )
