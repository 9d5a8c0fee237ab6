"""Failover: what is put in the place of a consumer that nobody answers for, and when."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest

from bridge.errors import RequestInvalid, Unavailable
from bridge.filters import parse
from bridge.jetstream.connection import ApiError, Unanswered
from bridge.jetstream.consumer_api import ConsumerApi
from bridge.jetstream.log.tail import Tail
from bridge.jetstream.stream import stream_state
from bridge.jetstream.subscriptions.consumers import Consumers, Leaderless
from bridge.jetstream.subscriptions.delivery_marks import KnownMarks
from bridge.jetstream.subscriptions.failover import Failover
from bridge.jetstream.subscriptions.registry import Registry
from bridge.subscription import Selection, Subscription
from tests.support.wire import STREAM, Wire

STANDING = Subscription(Selection("p", ("a",)), "reader")
PINNED = Subscription(Selection("p", ("a",), filter=parse("correlation_id:c-1")), "reader")
Answer = Callable[[dict[str, Any]], dict[str, Any]]


def stream_info(created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    return {
        "created": created,
        "config": {"num_replicas": 1},
        "state": {"messages": 90, "first_seq": 1, "last_seq": 90},
    }


def raising(error: Exception) -> Answer:
    def refuse(_: dict[str, Any]) -> dict[str, Any]:
        raise error

    return refuse


def in_turn(*answers: Answer) -> Answer:
    turns = iter(answers)

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return next(turns)(body)

    return answer


def consumer(subscription: Subscription, created: str = "2026-01-01T00:00:01Z") -> dict[str, Any]:
    """Give what JetStream tells of a subscription's consumer that has delivered nothing."""
    return {
        "name": subscription.name,
        "created": created,
        "config": {"metadata": subscription.metadata()},
        "delivered": {"consumer_seq": 0, "stream_seq": 0},
    }


class Scene:
    """Failover on a wire whose API answers as it is told; `calls` are its verbs and bodies."""

    def __init__(self, *, most: int = 1000, patience: tuple[float, float] = (0.0, 60.0)) -> None:
        wire: Any = Wire()
        wire.api = self._api
        self.answers: dict[str, Answer] = {
            "STREAM.INFO": lambda _: stream_info(),
            "CONSUMER.INFO": raising(Unanswered("nobody")),
            "CONSUMER.DELETE": lambda _: {},
        }
        self.calls: list[tuple[str, dict[str, Any]]] = []
        api = ConsumerApi(wire, STREAM)
        self.tail = Tail(wire, cast("Any", None), api, STREAM, self._start_over)
        consumers = Consumers(api, ack_wait=4, idle=60, clustered=True)
        self.marks = KnownMarks()
        self.registry = Registry(consumers, self.marks, STREAM)
        self.failover = Failover(
            consumers, self.registry, self.marks, self.tail, most=most, patience=patience
        )
        self.started_over = False

    async def ready(self) -> Failover:
        self.tail.adopt(await stream_state(cast("Any", self.tail)._connection, STREAM))
        self.calls.clear()
        return self.failover

    async def _start_over(self) -> None:
        self.started_over = True

    def _api(self, subject: str, body: dict[str, Any]) -> dict[str, Any]:
        verb = ".".join(subject.split(".")[:2])
        self.calls.append((verb, body))
        return self.answers[verb](body)

    def made(self) -> list[dict[str, Any]]:
        return [body["config"] for verb, body in self.calls if verb == "CONSUMER.CREATE"]


def gone_on(marks: KnownMarks, name: str, sequence: int) -> None:
    """Let a subscription be acknowledged up to a sequence, by a consumer that is lost now."""
    marks.of(name).learn("the lost one", 5, sequence)


def test_a_lost_consumer_is_made_again_behind_what_was_acknowledged() -> None:
    async def run() -> None:
        scene = Scene()
        scene.answers["CONSUMER.CREATE"] = lambda _: consumer(STANDING)
        failover = await scene.ready()
        gone_on(scene.marks, STANDING.name, 40)
        await failover.repair(STANDING)
        [config] = scene.made()
        assert (config["deliver_policy"], config["opt_start_seq"]) == ("by_start_sequence", 41)
        assert config["metadata"]["again"] == "yes"
        assert scene.registry.has(STANDING.name)

    asyncio.run(run())


def test_one_of_which_nothing_is_known_begins_with_everything() -> None:
    async def run() -> None:
        scene = Scene()
        scene.answers["CONSUMER.CREATE"] = lambda _: consumer(STANDING)
        await (await scene.ready()).repair(STANDING)
        [config] = scene.made()
        assert config["deliver_policy"] == "all"

    asyncio.run(run())


def test_a_pinned_one_whose_server_is_away_is_put_on_another_once_patience_is_over() -> None:
    async def run() -> None:
        scene = Scene(patience=(0.01, 60.0))
        failover = await scene.ready()
        gone_on(scene.marks, PINNED.name, 40)
        scene.answers["CONSUMER.CREATE"] = raising(Unanswered("nobody"))
        with pytest.raises(Leaderless):
            await failover.repair(PINNED)
        assert "CONSUMER.DELETE" not in dict(scene.calls)
        await asyncio.sleep(0.02)  # the patience that it is given
        scene.answers["CONSUMER.CREATE"] = in_turn(
            raising(Unanswered("nobody")), lambda _: consumer(PINNED)
        )
        scene.calls.clear()
        await failover.repair(PINNED)
        verbs = [verb for verb, _ in scene.calls if verb != "STREAM.INFO"]
        assert verbs == ["CONSUMER.CREATE", "CONSUMER.DELETE", "CONSUMER.CREATE"]
        assert scene.made()[-1]["opt_start_seq"] == 41

    asyncio.run(run())


def test_one_that_may_have_come_further_than_is_known_is_waited_for_longer() -> None:
    """Its server may come back and tell; a new one would give everything again."""

    async def run() -> None:
        scene = Scene(patience=(0.0, 60.0))
        failover = await scene.ready()
        scene.answers["CONSUMER.CREATE"] = raising(Unanswered("nobody"))
        for _ in range(3):
            with pytest.raises(Leaderless):
                await failover.repair(PINNED)
        assert "CONSUMER.DELETE" not in dict(scene.calls)

    asyncio.run(run())


def test_a_standing_one_is_never_replaced() -> None:
    """It is on several servers: one of them will lead it."""

    async def run() -> None:
        scene = Scene(patience=(0.0, 0.0))
        failover = await scene.ready()
        scene.answers["CONSUMER.CREATE"] = raising(ApiError(400, 10148, "consumer already exists"))
        for _ in range(3):
            with pytest.raises(Leaderless):
                await failover.repair(STANDING)
        assert "CONSUMER.DELETE" not in dict(scene.calls)

    asyncio.run(run())


def test_nothing_is_made_again_on_a_stream_that_is_another_one() -> None:
    """Its readers are told that theirs has gone."""

    async def run() -> None:
        scene = Scene()
        failover = await scene.ready()
        scene.answers["STREAM.INFO"] = lambda _: stream_info("2026-02-02T00:00:00Z")
        with pytest.raises(Unavailable):
            await failover.repair(STANDING)
        assert (scene.made(), scene.started_over) == ([], True)

    asyncio.run(run())


def test_what_expired_in_hand_is_not_given_again() -> None:
    async def run() -> None:
        scene = Scene()
        scene.answers["CONSUMER.CREATE"] = lambda _: consumer(STANDING)
        failover = await scene.ready()
        gone_on(scene.marks, STANDING.name, 40)
        scene.marks.of(STANDING.name).note(6, 50)  # in hand, and not retained: the mirror is empty
        scene.tail.mirror.last_sequence = 90
        await failover.repair(STANDING)
        assert scene.made()[0]["opt_start_seq"] == 51

    asyncio.run(run())


def test_a_subscription_too_many_is_refused_before_anything_is_made() -> None:
    async def run() -> None:
        scene = Scene(most=0)
        failover = await scene.ready()
        with pytest.raises(RequestInvalid):
            await failover.make(STANDING, deliver="all")
        assert scene.calls == []

    asyncio.run(run())


def test_a_new_one_that_a_dead_server_got_is_made_on_another() -> None:
    async def run() -> None:
        scene = Scene()
        failover = await scene.ready()
        scene.answers["CONSUMER.CREATE"] = in_turn(
            raising(Unanswered("nobody")), lambda _: consumer(PINNED)
        )
        await failover.make(PINNED, deliver="new")
        assert [verb for verb, _ in scene.calls] == [
            "CONSUMER.CREATE",
            "CONSUMER.DELETE",
            "CONSUMER.CREATE",
        ]
        assert scene.made()[-1]["deliver_policy"] == "new"

    asyncio.run(run())
