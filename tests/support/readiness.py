"""Whether readiness tells the truth: `/readyz`, then a publish at the same bridge, repeatedly."""

import logging
import threading
import time
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

import httpx

from tests.support.agents import make_token
from tests.support.waiting import eventually

log = logging.getLogger("tests.readiness")

PACE_SECONDS = 0.1
PUBLISH_SECONDS = 30.0
_LEAVING = "shutting down"


class Sample(NamedTuple):
    """What a bridge said of itself, and what a publish right after came to.

    `ready` is None when nobody listens; `stored` is None when that is so for the publish.
    """

    at: float
    ready: bool | None
    reason: str
    stored: bool | None
    refusal: str


class ReadinessProbe:
    """Asks one bridge whether it is ready, and puts it to the proof, from `start` to `stop`."""

    def __init__(self, url: str, project: str) -> None:
        self.url = url
        self.samples: list[Sample] = []
        self.wrong: list[str] = []
        token = make_token("prober", project_id=project)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> "ReadinessProbe":
        self._thread.start()
        return self

    def stop(self) -> None:
        """End it, once."""
        if self._thread.ident is None or self._stop.is_set():
            return
        self._stop.set()
        self._thread.join()
        log.info("%s: %s", self.url, self.report())

    def await_unready(self) -> None:
        """Wait until the bridge says that it is not ready."""
        eventually(lambda: self.last.ready is False, within=60, what=f"unreadiness of {self.url}")

    @property
    def last(self) -> Sample:
        return self.samples[-1]

    @property
    def refusals(self) -> list[str]:
        """What publishes were refused with although `/readyz` had just said 200."""
        return [sample.refusal for sample in self.samples if sample.ready and sample.refusal]

    @property
    def reasons(self) -> set[str]:
        """Why the bridge was not ready, in its own words."""
        return {sample.reason for sample in self.samples if sample.reason}

    @property
    def longest_untruth(self) -> int:
        """The most publishes in a row that were refused although `/readyz` had just said 200."""
        return _longest(each.ready is True and each.stored is False for each in self.samples)

    @property
    def longest_alarm(self) -> int:
        """The most publishes in a row that were stored although `/readyz` had just said 503.

        A bridge that drains says so, and goes on storing: it is about to leave.
        """
        return _longest(
            each.ready is False and each.stored is True and each.reason != _LEAVING
            for each in self.samples
        )

    def report(self) -> str:
        """Sum up the states in order, as a line for people: state, how often, for how long."""
        parts = []
        runs = groupby(self.samples, key=lambda each: (each.ready, each.stored))
        for (ready, stored), run in runs:
            found = list(run)
            took = found[-1].at - found[0].at
            parts.append(f"{_STATES[ready]}/{_PUBLISHES[stored]} x{len(found)} {took:.1f} s")
        why = f"; because {sorted(self.reasons)}" if self.reasons else ""
        return ", ".join(parts) + why

    def _run(self) -> None:
        with httpx.Client(base_url=self.url, timeout=PUBLISH_SECONDS) as http:
            while not self._stop.is_set():
                self.samples.append(self._sample(http))
                self._stop.wait(PACE_SECONDS)

    def _sample(self, http: httpx.Client) -> Sample:
        at = time.monotonic()
        try:
            told = http.get("/readyz")
        except httpx.TransportError:
            return Sample(at, None, "", None, "")
        ready = told.status_code == 200
        reason = "" if ready else told.json()["reason"]
        return Sample(at, ready, reason, *self._publish(http))

    def _publish(self, http: httpx.Client) -> tuple[bool | None, str]:
        """Publish; say whether that was stored, and with which words it was refused."""
        try:
            answer = http.post("/api/events/probe", json={}, headers=self._headers)
        except httpx.TimeoutException:
            self.wrong.append(f"a publish was not answered within {PUBLISH_SECONDS} s")
            return False, "no answer"
        except httpx.TransportError:
            return None, ""
        if answer.status_code == 202:
            return True, ""
        if answer.status_code != 503 or answer.json()["code"] != "EVT_001":
            self.wrong.append(f"{answer.status_code} {answer.text}")
        return False, answer.json()["message"]


def _longest(samples: Iterable[bool]) -> int:
    """How many in a row are true, at most."""
    return max((len(list(run)) for is_so, run in groupby(samples) if is_so), default=0)


_STATES = {True: "ready", False: "unready", None: "gone"}
_PUBLISHES = {True: "stored", False: "refused", None: "gone"}
