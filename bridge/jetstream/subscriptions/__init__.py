"""Durable subscriptions: their consumers, who waits on them, and what replaces one that is lost."""
