"""The Event System Guide's complete workflow as programs, each to be run as its own process."""
