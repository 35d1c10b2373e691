"""Put what ``benchmark_network.py`` measured into words: a table, a plot, and the tables on the page of the docs.

    python scripts/report_speed.py benchmarks/results/network_cpu_float32.json --page docs/reference/speed.md

replaces what stands on the page between ``<!-- measured: begin -->`` and ``<!-- measured: end -->``.
"""

import argparse
import json
from pathlib import Path

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

_HEAD = ("rival", "s per slice", "times contiguous", "of sgemm's rate")


def cells_of(row):
    low, middle, high = row["times_contiguous"]
    times = "1" if row["rival"] == "contiguous" else f"{middle:.2f} ({low:.2f} to {high:.2f})"
    return row["rival"], f"{row['seconds_per_slice']:.4f}", times, f"{100 * row['share_of_sgemm']:.0f} %"


def lines_of(rows):
    """Lines of a table for a terminal."""
    table = [_HEAD, *map(cells_of, rows)]
    sides = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(cell.ljust(side) for cell, side in zip(line, sides, strict=True)).rstrip() for line in table]


def groups_of(result):
    """{(network, threads, pass, width): rows}, in the order of the file."""
    groups = {}
    for row in result["rows"]:
        groups.setdefault((row["network"], row["threads"], row["pass"], row["width"]), []).append(row)
    return groups


def page_of(result):
    """The tables as Markdown, below a line that says under which conditions they were measured."""
    found = result["conditions"]
    height, width = found["size"]
    lines = [
        f"Measured on {found['date']}: {found['processor']} ({found['capability']}), torch {found['torch']}, float32, "
        f"{found['batch_size']} slices of {height} x {width} at once, medians of {found['repeats']} rounds, seconds "
        f"{found['seconds']}.",
    ]
    for (network, threads, kind, base_width), rows in groups_of(result).items():
        flop, rate = rows[0]["gflop_per_slice"], rows[0]["sgemm_gflop_per_s"]
        lines += [
            "",
            f"**{network}, base width {base_width}, {kind}**, threads: {threads}; {flop:.1f} GFLOP a slice, `sgemm` at "
            f"{rate:.0f} GFLOP/s:",
            "",
            f"| {' | '.join(_HEAD)} |",
            "|---|---|---|---|",
            *(f"| {' | '.join(cells_of(row))} |" for row in rows),
        ]
    return "\n".join(lines)


def fill_page(page, text):
    """Replace what stands between the marks of a page.

    Raises
    ------
    SystemExit
        If the page lacks them.
    """
    content = page.read_text("utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        raise SystemExit(f"{page}: needs {BEGIN} and {END}, once each")
    before, behind = content.split(BEGIN)[0], content.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{behind}", "utf-8")


def draw(result, path):
    """Plot the seconds for a slice, a panel for each pass and number of threads, a group of bars for each width."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {}
    for (network, threads, kind, width), rows in groups_of(result).items():
        panels.setdefault((network, threads, kind), {})[width] = rows
    rivals = list(dict.fromkeys(row["rival"] for row in result["rows"]))
    figure, axes = pyplot.subplots(len(panels), 1, figsize=(9, 3.2 * len(panels)), squeeze=False)
    for axis, ((network, threads, kind), by_width) in zip(axes[:, 0], panels.items(), strict=True):
        side = 0.8 / len(rivals)
        for number, rival in enumerate(rivals):
            spots = [(place, row) for place, rows in enumerate(by_width.values()) for row in rows
                     if row["rival"] == rival]  # fmt: skip
            axis.bar(
                [place + (number - (len(rivals) - 1) / 2) * side for place, _ in spots],
                [row["seconds_per_slice"] for _, row in spots],
                side,
                label=rival,
                color=f"C{number}",
            )
        axis.set_xticks(range(len(by_width)), [f"width {width}" for width in by_width])
        axis.set_yscale("log")
        axis.set_ylabel("s per slice")
        axis.set_title(f"{network}, {kind}, threads: {threads}")
        axis.grid(axis="y", alpha=0.3)
    axes[0, 0].legend(fontsize=8, ncols=2)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, metavar="JSON")
    parser.add_argument("--page", type=Path, metavar="MD", help="fill this page; without it the tables are printed")
    options = parser.parse_args()
    text = page_of(json.loads(options.results.read_text()))
    if options.page:
        fill_page(options.page, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
