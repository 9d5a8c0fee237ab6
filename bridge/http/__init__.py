"""The HTTP side: routes, errors as responses, delivery and drain. No NATS type in here."""
