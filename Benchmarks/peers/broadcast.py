"""The Python server of the fan-out rows: websockets on uvloop, one broadcast() per message and nothing else."""

import asyncio
import contextlib
import logging

import uvloop
import websockets
from websockets.asyncio.server import broadcast, serve

subscribers = set()


async def handle(connection):
    if connection.request.path == "/pub":
        async for message in connection:
            broadcast(subscribers, message)
        return
    subscribers.add(connection)
    try:
        await connection.wait_closed()
    finally:
        subscribers.discard(connection)


async def main():
    # No permessage-deflate: what is measured is one frame to each.
    async with serve(handle, "127.0.0.1", 0, compression=None, ping_interval=None, backlog=4096) as server:
        print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


logging.getLogger("websockets").setLevel(logging.CRITICAL)
with contextlib.suppress(KeyboardInterrupt, websockets.ConnectionClosed):
    uvloop.run(main())
