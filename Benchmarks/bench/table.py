"""The rows, by their numbers in the table of figures."""

from bench import fanout, gateways, memory, permission, storms, ticking, writers

ROWS = {
    1: fanout.paced(1, 1000, 20, "≤ 1.05 × floor"),
    2: fanout.paced(2, 10_000, 5, "≤ 1.05 × floor"),
    3: fanout.saturated,
    4: gateways.steady,
    5: gateways.fastest,
    6: permission.run,
    7: writers.slow_disk,
    8: writers.fast_disk,
    9: memory.run,
    10: storms.run,
    11: ticking.run,
}
