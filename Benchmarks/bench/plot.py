"""Bars of each row's first figure, as SVG that can be read on light and on dark pages."""

from xml.sax.saxutils import escape

WIDTH, LEFT, BAR, GAP = 760, 190, 18, 6
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600 } .unit { fill: #59636e }
  .page { fill: #ffffff } .own { fill: #0969da } .other { fill: #a8b3bf }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .unit { fill: #9198a1 } .page { fill: #0d1117 }
    .own { fill: #4493f8 } .other { fill: #59636e }
  }
"""


def svg(rows):
    parts, y = [], 16
    for row in rows:
        block, y = bars(row, y)
        parts += block
    size = f'width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}"'
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">'
            f"<title>jobfeed benchmarks</title><style>{STYLE}</style>"
            f'<rect class="page" width="{WIDTH}" height="{y}"/>')
    return head + "\n" + "\n".join(parts) + "\n</svg>\n"


def bars(row, y):
    metric = row.metrics[0]
    values = [(subject, row.median(subject, metric.name)) for subject in row.figures]
    values = [(subject, value) for subject, value in values if value is not None]
    if not values:
        return [], y
    largest = max(value for _, value in values) or 1
    parts = [f'<text class="title" x="12" y="{y + 10}">{escape(f"{row.number}. {row.title}")}</text>',
             f'<text class="unit" x="12" y="{y + 28}">{escape(metric.unit)}</text>']
    y += 40
    for subject, value in values:
        width = max((WIDTH - LEFT - 90) * value / largest, 1)
        kind = "own" if row.is_own(subject) else "other"
        parts += [f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(subject)}</text>',
                  f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>',
                  f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}">{value:,.{metric.digits}f}</text>']
        y += BAR + GAP
    return parts, y + 18
