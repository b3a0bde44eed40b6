"""The gateway that everybody writes first: asyncpg, websockets, uvloop; the change travels in the notification.

No snapshot, no resume, no filters: a token names the user, a trigger puts the owner and the row's changed columns into
NOTIFY, and whoever is connected as the owner gets them.

  DATABASE_URL=… JWT_SECRET=… handrolled.py
"""

import asyncio
import base64
import collections
import contextlib
import hashlib
import hmac
import json
import os
import time

import asyncpg
import uvloop
from websockets.asyncio.server import broadcast, serve

SECRET = os.environ["JWT_SECRET"].encode()
sockets = collections.defaultdict(set)


def part(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verified(request):
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    try:
        signed, _, signature = token.rpartition(".")
        if kind != "Bearer" or not hmac.compare_digest(
                hmac.digest(SECRET, signed.encode(), hashlib.sha256), part(signature)):
            return None
        claims = json.loads(part(signed.split(".")[1]))
        return claims["sub"] if claims["exp"] > time.time() else None
    except (ValueError, LookupError):
        return None


def check(connection, request):
    connection.user = verified(request)
    return None if connection.user else connection.respond(401, "no valid token\n")


async def handle(connection):
    mine = sockets[connection.user]
    mine.add(connection)
    try:
        await connection.wait_closed()
    finally:
        mine.discard(connection)


def changed(database, pid, channel, payload):
    owner, _, change = payload.partition("\n")
    if owner in sockets:
        broadcast(sockets[owner], change)


async def main():
    database = await asyncpg.connect(os.environ["DATABASE_URL"])
    await database.add_listener("handrolled", changed)
    async with serve(handle, "127.0.0.1", 0, process_request=check, compression=None, ping_interval=None,
                     backlog=4096) as server:
        print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await asyncio.get_running_loop().create_future()


with contextlib.suppress(KeyboardInterrupt):
    uvloop.run(main())
