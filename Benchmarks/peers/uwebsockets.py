"""uWebSockets through socketify: Python accepts the messages, uWebSockets alone sends them to the subscribers."""

import socket

from socketify import App, CompressOptions, OpCode

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]

app = App()
plain = {"compression": CompressOptions.DISABLED, "max_payload_length": 1 << 16, "idle_timeout": 0}
app.ws("/sub", {**plain, "open": lambda client: client.subscribe("feed")})
app.ws("/pub", {**plain, "message": lambda client, message, opcode: app.publish("feed", message, OpCode.TEXT)})
app.listen({"port": port, "host": "127.0.0.1"}, lambda _: print(f"listening on http://127.0.0.1:{port}", flush=True))
# Not app.run(): that polls between Python's event loop and this one.
app.loop.uv_loop.run()
