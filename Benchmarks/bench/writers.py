"""Rows 7 and 8: what capturing the changes costs those who write."""

import pathlib

PROGRAM = pathlib.Path(__file__).parents[1] / "writers" / "run.py"


def slow_disk(context):
    raise RuntimeError("not there yet")


def fast_disk(context):
    raise RuntimeError("not there yet")
