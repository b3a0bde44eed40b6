"""The tables (Markdown), the numbers (JSON) and the plot (SVG)."""

import json
import pathlib
import statistics

from bench import plot
from bench.results import Row


def earlier(directory, measured):
    """The rows of an earlier run, without those that were measured now."""
    file = pathlib.Path(directory) / "results.json"
    if not file.exists():
        return []
    rows = [Row.from_json(said) for said in json.loads(file.read_text())["rows"]]
    return [row for row in rows if row.number not in measured]


def write(directory, machine, rows):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.json").write_text(
        json.dumps({"machine": machine, "rows": [row.json() for row in rows]}, indent=2) + "\n")
    (directory / "results.md").write_text(markdown(machine, rows))
    (directory / "results.svg").write_text(plot.svg(rows))


def document(page, machine, rows):
    """Replaces what stands under "Results" in a page, and the plot beside it."""
    page = pathlib.Path(page)
    head, heading, _ = page.read_text().partition("## Results\n")
    if not heading:
        raise SystemExit(f"{page} has no line \"## Results\"")
    plotted = page.with_suffix(".svg")
    plotted.write_text(plot.svg(rows))
    page.write_text(f"{head}{heading}\n{markdown(machine, rows)}\n![The first figure of each row]({plotted.name})\n")


def number(value, digits):
    return f"{value:,.{digits}f}"


def markdown(machine, rows):
    lines = [f"{machine['cores']} cores ({machine['cpu']}), {machine['memory']}, Linux {machine['kernel']},"
             f" PostgreSQL {machine['postgres']}, {machine['swift']}, Python {machine['python']}."
             " Medians, in brackets the lowest and the highest run.", ""]
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
    notes = [*row.notes, *([row.taken] if row.taken else [])]
    return lines + ["", *(f"* {note}" for note in notes)]


def cell(values, digits):
    if not values:
        return "–"
    median = number(statistics.median(values), digits)
    if len(values) == 1:
        return median
    return f"{median} ({number(min(values), digits)}–{number(max(values), digits)})"
