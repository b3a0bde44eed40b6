"""What the rows found: figures of several runs under names, their medians, and what they are compared with."""

import dataclasses
import statistics


@dataclasses.dataclass
class Metric:
    name: str
    unit: str
    digits: int = 2


class Row:
    """One row of the table; figures[subject][metric] is a list of runs."""

    def __init__(self, number, title, metrics, baseline=None, reach=""):
        self.number, self.title, self.metrics = number, title, metrics
        self.baseline, self.reach = baseline, reach
        self.figures = {}
        self.notes = []
        self.taken = ""

    def add(self, subject, **figures):
        runs = self.figures.setdefault(subject, {})
        for name, value in figures.items():
            runs.setdefault(name, []).append(value)

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def median(self, subject, metric):
        values = self.figures.get(subject, {}).get(metric)
        return statistics.median(values) if values else None

    def ratio(self, subject):
        """Of the first metric to the baseline's."""
        metric = self.metrics[0].name
        own, base = self.median(subject, metric), self.median(self.baseline, metric) if self.baseline else None
        return own / base if own is not None and base else None

    def is_own(self, subject):
        """Whether it is jobfeed that was measured; some rows measure nobody else."""
        return subject.startswith("jobfeed") or not any(name.startswith("jobfeed") for name in self.figures)

    @classmethod
    def from_json(cls, said):
        row = cls(said["row"], said["title"], [Metric(**metric) for metric in said["metrics"]], said["baseline"],
                  said["reach"])
        row.notes, row.taken = said["notes"], said["taken"]
        row.figures = {subject: {name: values["runs"] for name, values in runs.items()}
                       for subject, runs in said["figures"].items()}
        return row

    def json(self):
        return {
            "row": self.number, "title": self.title, "reach": self.reach, "baseline": self.baseline,
            "notes": self.notes, "taken": self.taken,
            "metrics": [dataclasses.asdict(metric) for metric in self.metrics],
            "figures": {
                subject: {name: {"median": statistics.median(values), "runs": values} for name, values in runs.items()}
                for subject, runs in self.figures.items()
            },
        }
