"""What `helm test` runs: an event goes through the Service, and comes back."""

import os
import uuid

from bridge.cli.signing import make
from bridge.client import EventClient

token = os.environ.get("JWT_TOKEN")
if not token:
    token = make("helm-test", None, "helm-test", "10m", None, None).token
run = str(uuid.uuid4())

with EventClient(token=token, retry_for=30) as client:
    sent = client.publish("helm_test", {"run": run}, correlation_id=run)
    batch = client.wait("helm_test", filter=f"correlation_id:{run}", timeout=30)

received = [event.event_id for event in batch.events]
if received != [sent.event_id]:
    raise SystemExit(f"published {sent.event_id}, but received {received}")
print(f"published and received {sent.event_id}")
