"""`bridge demo`: the Event System Guide's workflow, by real agents on a bridge of its own."""
