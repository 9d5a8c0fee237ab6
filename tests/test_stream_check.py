"""The stream check: how long a NATS server that is of no use is kept."""

import asyncio

from bridge.errors import Unavailable
from bridge.jetstream.log.stream_check import StreamCheck

PATIENCE = 0.1


class _Useless:
    """Stands for the connection and the tail: the stream never answers, on any server."""

    is_up = True
    epoch = 1

    def __init__(self) -> None:
        self.left: list[float] = []
        self.twice = asyncio.Event()

    async def verify(self, _: float) -> None:
        raise Unavailable("no leader")

    async def leave(self) -> None:
        self.left.append(asyncio.get_running_loop().time())
        if len(self.left) == 2:
            self.twice.set()


def test_a_server_without_a_leader_is_left_once_and_the_next_has_its_own_time() -> None:
    async def run() -> float:
        useless = _Useless()
        check = StreamCheck(
            useless,  # type: ignore[arg-type]
            useless,  # type: ignore[arg-type]
            look=0.001,
            look_again=0.001,
            patience=PATIENCE,
        )
        looking = asyncio.create_task(check.run())
        await asyncio.wait_for(useless.twice.wait(), 10)
        looking.cancel()
        first, second = useless.left
        return second - first

    assert asyncio.run(run()) >= PATIENCE
