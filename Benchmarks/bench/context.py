"""What every row is given."""

import contextlib
import dataclasses
import sys
import time

from bench import cluster, peers, results


@dataclasses.dataclass
class Context:
    cluster: cluster.Cluster
    runs: int
    is_quick: bool
    is_smoke: bool

    def seconds(self, normal, quick):
        return 1 if self.is_smoke else quick if self.is_quick else normal

    def count(self, normal):
        """How many sockets, or jobs."""
        return max(normal // 50, 20) if self.is_smoke else normal

    def of_run(self, attempt, candidates):
        """Those whom the figures are held against run each time; with --quick the others only once."""
        return [peer for peer in candidates if attempt == 0 or not self.is_quick or peer.is_yardstick]

    def available(self, row: results.Row, candidates):
        """Those peers that can run here; the row says who cannot, and why."""
        here = []
        for peer in candidates:
            reason = peer.missing()
            if reason:
                row.note(f"{peer.name}: not measured, {reason}")
            else:
                here.append(peer)
        return here

    @contextlib.contextmanager
    def forgiving(self, row: results.Row, name):
        """A peer that fails does not cost the others; the row says so."""
        try:
            yield
        except Exception as error:
            self.say(f"{name} failed: {error}")
            row.note(f"{name}: failed in a run: {error}")

    started = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", file=sys.stderr, flush=True)


FAN_OUT_PEERS = [peers.Floor, peers.UWebSockets, peers.Nchan, peers.Python]
