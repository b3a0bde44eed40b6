"""The tables (Markdown), the numbers (JSON) and the plot (SVG)."""

import json
import pathlib
import statistics

from bench import plot


def write(directory, machine, command, rows):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(
        json.dumps({"machine": machine, "command": command, "rows": [row.json() for row in rows]}, indent=2) + "\n")
    (directory / "results.md").write_text(markdown(machine, command, rows))
    (directory / "results.svg").write_text(plot.svg(rows))


def number(value, digits):
    return f"{value:,.{digits}f}"


def markdown(machine, command, rows):
    lines = [f"`{command}`, {machine['date']}, commit {machine['commit']}: {machine['cores']} cores ({machine['cpu']}),"
             f" {machine['memory']}, Linux {machine['kernel']}, PostgreSQL {machine['postgres']}, {machine['swift']},"
             f" Python {machine['python']}; load before: {machine['load_before']}.", "",
             "Medians, in brackets the lowest and the highest run.", ""]
    for row in rows:
        lines += [*table(row), ""]
    return "\n".join(lines)


def table(row):
    lines = [f"### {row.number}. {row.title}", ""]
    if row.reach:
        lines += [f"To reach: {row.reach}.", ""]
    shown = [metric for metric in row.metrics if any(metric.name in runs for runs in row.figures.values())]
    heads = [metric.unit for metric in shown]
    if row.baseline:
        heads.append(f"× {row.baseline}")
    lines.append("| | " + " | ".join(heads) + " |")
    lines.append("|---|" + "--:|" * len(heads))
    for subject, runs in row.figures.items():
        cells = [cell(runs.get(metric.name), metric.digits) for metric in shown]
        if row.baseline:
            ratio = row.ratio(subject)
            cells.append("" if ratio is None else f"{ratio:.2f}")
        lines.append(f"| {subject} | " + " | ".join(cells) + " |")
    if row.notes:
        lines += ["", *(f"* {note}" for note in row.notes)]
    return lines


def cell(values, digits):
    if not values:
        return "–"
    median = number(statistics.median(values), digits)
    if len(values) == 1:
        return median
    return f"{median} ({number(min(values), digits)}–{number(max(values), digits)})"
