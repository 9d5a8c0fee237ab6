"""`bridge serve` with other times than users have: `python -m tests.support.serving TIMES`.

The times are those of `bridge.jetstream.Times`, as a JSON object.
"""

import json
import sys

from bridge.cli import serve
from bridge.jetstream import Times

if __name__ == "__main__":
    serve.run(Times(**json.loads(sys.argv[1])))
