"""What tests are made with: real nats-servers, real bridge processes, agents over HTTP."""

from tests.support.agents import Agent, Agents
from tests.support.bridges import BridgeProcess
from tests.support.jetstream import on_jetstream
from tests.support.natsservers import NatsServer
from tests.support.waiting import eventually

__all__ = ["Agent", "Agents", "BridgeProcess", "NatsServer", "eventually", "on_jetstream"]
