"""The table: every figure beside a baseline of the same run and the bar it is held against."""
import pathlib
import statistics
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/e2e/lib"))
from harness import BUILD, check, run  # noqa: E402

BENCH = BUILD / "bench"
rows = []


def figures(*argv, env=None):
    """The last two words a command prints, as numbers: p50 and p99."""
    r = run(*argv, env=env, timeout=300)
    check(r.code == 0, r)
    p50, p99 = map(float, r.out.split()[-2:])
    return p50, p99


def middle(values):
    """Median of figures, or of pairs of them."""
    return tuple(map(statistics.median, zip(*values))) if isinstance(values[0], tuple) else statistics.median(values)


def pair(values, unit):
    return f"{values[0]:.2f} / {values[1]:.2f} {unit}"


def busy(seconds=1):
    """Percent of the processors' time that is used while this program waits."""
    def look():
        ticks = [int(n) for n in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]  # all; idle and waiting for disks
    (total, idle), _ = look(), time.sleep(seconds)
    total, idle = (now - then for now, then in zip(look(), (total, idle)))
    return 100 * (total - idle) / max(total, 1)


def add(what, got, baseline, bar, met):
    rows.append((what, got, baseline, bar, "met" if met else "MISSED"))
    print(f"  {what}: {got}", flush=True)


def row(what, unit, got, bar, baseline_name, baseline, value=None):
    """got, baseline: p50 and p99; bar: its text and the most that value (got's p50) may be."""
    value = got[0] if value is None else value
    add(what, pair(got, unit), f"{baseline_name}: {pair(baseline, unit)}", bar[0], value <= bar[1])


def show(heads, lines):
    widths = [max(len(line[i]) for line in [heads, *lines]) for i in range(len(heads))]
    print()
    for line in [heads, tuple("-" * w for w in widths), *lines]:
        print("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip())


def show_rows():
    show(("what", "p50 / p99", "baseline, same run", "bar", ""), rows)
    missed = [line[0] for line in rows if line[4] != "met"]
    print(f"\n{len(rows) - len(missed)} bars met, {len(missed)} missed" + "".join(f"\n  {what}" for what in missed))


def pss(pid):
    """Kilobytes of a process, what it shares with others split between them."""
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
