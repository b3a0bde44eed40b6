"""Runs the package `realtime` as it is: commands come as JSON lines, what its callbacks are told goes out as JSON lines."""

import asyncio
import importlib.metadata
import json
import sys

from realtime import AsyncRealtimeClient


def tell(**event):
    print(json.dumps(event, default=str), flush=True)


class Program:
    def __init__(self):
        self.client = None
        self.channels = {}

    async def connect(self, url, token, **options):
        self.client = AsyncRealtimeClient(url, token, **options)
        await self.client.connect()
        tell(connected=importlib.metadata.version("realtime"))

    async def channel(self, topic, bindings, params=None):
        channel = self.client.channel(topic, params) if params else self.client.channel(topic)
        self.channels[topic] = channel
        for number, binding in enumerate(bindings):
            channel.on_postgres_changes(
                callback=lambda payload, *_, number=number: tell(topic=topic, binding=number, payload=payload), **binding)
        for name, register in (("system", "on_system"), ("broadcast", "on_broadcast")):
            arguments = {"event": "jobfeed"} if name == "broadcast" else {}
            getattr(channel, register)(callback=lambda payload, *_, name=name: tell(topic=topic, **{name: payload}),
                                       **arguments)
        await channel.subscribe(
            lambda state, error=None: tell(topic=topic, state=getattr(state, "value", state), error=error and str(error)))

    async def set_auth(self, token):
        await self.client.set_auth(token)

    async def leave(self, topic):
        await self.channels[topic].unsubscribe()

    async def send(self, topic):
        await self.channels[topic].send_broadcast("x", {})


async def main():
    program = Program()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        # A subscription may wait for its answer while other commands come.
        asyncio.ensure_future(getattr(program, command.pop("do"))(**command))


asyncio.run(main())
