"""The results as a table in Markdown, and as a chart."""

import json
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from statistics import median
from typing import Any

Row = dict[str, Any]
Values = dict[int, float | None]

# What the first figure of everyone is put in relation to: the first of these that took part.
BASELINES = {
    "to sse-starlette": (
        "sse_starlette generator",
        "sse_starlette broadcast",
        "sse_starlette",
        "httpx_sse",
    ),
    "to raw ASGI": ("raw single", "raw queue", "raw"),
    "to raw joining": ("raw joined",),
}

# What the chart shows: a scenario on a server, with the collector's defaults.
CHARTED = (
    ("burst", "hypercorn-trio"),
    ("paced", "hypercorn-trio"),
    ("fanout-1000-saturated", "hypercorn-trio"),
    ("burst", "uvicorn"),
    ("fanout-1000-saturated", "uvicorn"),
)


def read(path: Path) -> list[Row]:
    """Return the rows of a file of results."""
    return [json.loads(line) for line in path.read_text().splitlines()]


class Group:
    """The results of one scenario on one server with one setting of the collector.

    Args:
        rows: They.
    """

    def __init__(self, rows: list[Row]) -> None:
        self.first = rows[0]
        self.figures: dict[str, str] = self.first["figures"]
        self.key = next(iter(self.figures))
        self._rows: dict[str, list[Row]] = {}
        for row in rows:
            self._rows.setdefault(f"{row['library']} {row['variant']}".strip(), []).append(row)

    @property
    def cases(self) -> Iterable[str]:
        """Who took part."""
        return self._rows

    def error(self, case: str) -> str | None:
        """Return what has gone wrong, if anything has."""
        return next((row["error"] for row in self._rows[case] if "error" in row), None)

    def values(self, case: str, key: str) -> Values:
        """Return a figure in each round; None is what never came."""
        return {row["round"]: row[key] for row in self._rows[case] if key in row}

    def median(self, case: str, key: str) -> float | None:
        """Return the median; None if that never came."""
        values = [value for value in self.values(case, key).values() if value is not None]
        return median(values) if 2 * len(values) > len(self.values(case, key)) else None

    def ratio(self, case: str, others: tuple[str, ...]) -> float | None:
        """Return the median of the ratios, each within a round, to one of the others."""
        other = next((other for other in others if other in self._rows), None)
        if other is None:
            return None
        base = self.values(other, self.key)
        mine = self.values(case, self.key)
        ratios = [
            value / base[number] for number, value in mine.items() if value and base.get(number)
        ]
        return median(ratios) if ratios else None


def groups(rows: list[Row]) -> Iterator[Group]:
    """Yield the results by scenario, server and setting, in the order of their coming."""
    grouped: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((row["scenario"], row["server"], row["gc"]), []).append(row)
    return map(Group, grouped.values())


def number(value: float | None) -> str:
    """Write a figure with three digits that count."""
    if value is None:
        return "never"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(rows: list[Row]) -> str:
    """Return all results as tables in Markdown."""
    return "\n".join(line for group in groups(rows) for line in group_lines(group))


def group_lines(group: Group) -> Iterator[str]:
    """Yield the lines of one table."""
    first = group.first
    setting = {"default": "", "tuned": ", collector at 50,000/20/50 and frozen"}[first["gc"]]
    where = f" ({first['server']}{setting})" if first["server"] else ""
    yield f"\n### {first['title']}{where}\n"
    baselines = {
        name: others
        for name, others in BASELINES.items()
        if any(group.ratio(case, others) for case in group.cases)
    }
    names = list(group.figures.values())
    head = ["", names[0], "min..max", *baselines, *names[1:]]
    yield f"| {' | '.join(head)} |"
    yield f"|---{'|--:' * (len(head) - 1)}|"
    for case in group.cases:
        yield f"| {' | '.join(cells(group, case, baselines.values()))} |"


def cells(group: Group, case: str, baselines: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Yield the cells of one line."""
    yield case
    if error := group.error(case):
        yield f"failed: {error}"
        return
    values = [value for value in group.values(case, group.key).values() if value is not None]
    yield number(group.median(case, group.key))
    yield f"{number(min(values))}..{number(max(values))}" if values else ""
    for others in baselines:
        ratio = group.ratio(case, others)
        yield "" if ratio is None else f"{ratio:.3g}"
    for key in list(group.figures)[1:]:
        yield number(group.median(case, key))


WIDTH, LABEL, LINE, GAP = 760, 190, 18, 34
OURS, OTHERS = "#2a7", "#99a"


def chart(rows: list[Row]) -> str:
    """Return the main figures as an SVG: a panel for each comparison, a bar for each case."""
    parts: list[str] = []
    top = 0
    found = {
        (each.first["scenario"], each.first["server"], each.first["gc"]): each
        for each in groups(rows)
    }
    for scenario, server in CHARTED:
        if group := found.get((scenario, server, "default")):
            parts.append(panel(group, top))
            top += GAP + LINE * len(list(group.cases))
    size = f'viewBox="0 0 {WIDTH} {top + LINE}" style="font: 12px sans-serif"'
    white = '<rect width="100%" height="100%" fill="#fff"/>'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{white}{"".join(parts)}</svg>\n'


def panel(group: Group, top: int) -> str:
    """Return one comparison."""
    medians = {case: group.median(case, group.key) or 0 for case in group.cases}
    scale = (WIDTH - LABEL - 70) / (max(medians.values()) or 1)
    title = f"{group.first['title']}, {group.first['server']}: {group.figures[group.key]}"
    lines = [f'<text x="8" y="{top + 22}" font-weight="bold">{escape(title)}</text>']
    for index, (case, value) in enumerate(medians.items()):
        y, width = top + GAP + LINE * index, value * scale
        colour = OURS if case.startswith("trio_sse") else OTHERS
        lines += [
            f'<text x="{LABEL - 8}" y="{y + 10}" text-anchor="end">{escape(case)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="13" fill="{colour}"/>',
            f'<text x="{LABEL + width + 6:.1f}" y="{y + 10}">{number(value)}</text>',
        ]
    return "".join(lines)


def write(results: Path) -> None:
    """Write the table and the chart beside the results."""
    rows = read(results)
    results.with_suffix(".md").write_text(table(rows) + "\n")
    results.with_suffix(".svg").write_text(chart(rows))
