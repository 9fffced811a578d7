"""Published indicators and feeds through the command line and through Python: ``python benches/real_data.py``.

Reads ``../shared/data`` beside the repository (or the folder given as the first argument) and says so when it is not
there; nothing of it is kept, but for the feed that ``--feed`` asks for. Needs ``pyarrow``. ``BENCH_ROWS`` bounds the
indicators that are read. ``BENCH_CLI`` names the ``security`` command if it is not the installed
one. What is counted by the engine stands beside an independent count, and the two must be equal; times are CPU time of
the process, memory is the kernel's proportional share (Pss).
"""

from __future__ import annotations

import argparse
import collections
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CLI = os.environ.get("BENCH_CLI", str(Path(sys.executable).parent / "security"))
ROWS = int(os.environ.get("BENCH_ROWS", "0"))
WORKERS = 8
#: What the table of indicators calls the kinds.
KINDS = {"ipv4": "ip", "ipv6": "ip", "ipport": "ip:port"}


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(folder: Path, *arguments: str | Path) -> tuple[list[dict[str, Any]], str, float]:
    """The answers of a command, its errors, and its CPU seconds, those of all its threads together."""
    before = cpu_of_children()
    command = [CLI, "--data-dir", folder, "--json", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return answers, done.stderr, cpu_of_children() - before


def same(what: str, ours: int, counted: int) -> None:
    verdict = "equal" if ours == counted else "NOT EQUAL"
    print(f"  {what}: {ours:,} by the engine, {counted:,} counted beside it: {verdict}")


def pss(process: int) -> float:
    """MiB of memory of a process, shared pages in equal parts."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024


# -- the table of indicators ------------------------------------------------------------------------------------------


def indicators(table: Path, place: Path, kept: Path | None) -> None:
    try:
        import pyarrow.parquet as parquet
    except ModuleNotFoundError:
        print("pyarrow is not installed: the table of indicators is left out")
        return
    feed = kept or place / "real.csv"
    counted: collections.Counter[str] = collections.Counter()
    sample: dict[str, list[str]] = collections.defaultdict(list)
    with feed.open("w", encoding="utf-8", newline="") as out:
        write = csv.writer(out)
        write.writerow(["type", "value"])
        for batch in parquet.ParquetFile(table).iter_batches(columns=["type", "value"]):
            for row in batch.to_pylist():
                kind = str(row["type"])
                if kind == "hostport":
                    continue  # A name with a port is no kind of its own here.
                if ROWS and sum(counted.values()) >= ROWS:
                    break
                counted[kind] += 1
                write.writerow([KINDS.get(kind, kind), row["value"]])
                if counted[kind] % 97 == 0 and len(sample[kind]) < 20_000:
                    sample[kind].append(str(row["value"]))
    total = sum(counted.values())
    data = place / "real"
    begun = time.perf_counter()
    answers, problem, took = run(data, "ioc", "import", "--skip-bad", feed)
    clock = time.perf_counter() - begun
    if not answers:
        print(problem)
        return
    report = answers[0]
    taken = report["added"] + report["merged"]
    print(
        f"real indicators: {taken / took:,.0f}/s of CPU ({took:.1f} s of all threads, parsing and the match index "
        f"included), {taken / clock:,.0f}/s by the clock ({clock:.1f} s)"
    )
    print(f"  added {report['added']:,}, merged {report['merged']:,}, rejected {report['rejected']:,}")
    same("lines", taken + report["rejected"], total)
    if kept is None:
        feed.unlink()
    store = sum(path.stat().st_size for path in (data / "iocs").iterdir())
    index = sum(path.stat().st_size for path in (data / "iocs").glob("match-*.idx"))
    print(f"  match index {index / report['added']:.2f} bytes an entry; with the store {store / report['added']:.0f}")
    # Before this process maps the index itself, and so takes its part of each page.
    workers(data)
    look_ups(data, sample)


def look_ups(data: Path, sample: dict[str, list[str]]) -> None:
    import security

    begun = time.perf_counter()
    security.initialize(data_dir=data)
    security.check_ioc("ip", "192.0.2.1")
    print(f"  open and first answer: {(time.perf_counter() - begun) * 1e3:.1f} ms by the clock")
    for kind, values in sorted(sample.items()):
        name = KINDS.get(kind, kind)
        known = [value for value in values if valid(name, value)]
        if len(known) < 100:
            continue
        begun = time.process_time()
        met = sum(1 for value in known if security.check_ioc(name, value))
        read = time.process_time() - begun
        few = known[:500] * 20
        for value in few[:500]:
            security.check_ioc(name, value)
        begun = time.process_time()
        for value in few:
            security.check_ioc(name, value)
        kept = (time.process_time() - begun) / len(few)
        print(
            f"  {kind:<8} {met:,} of {len(known):,} met; "
            f"hit read {read / len(known) * 1e6:.2f} us, kept {kept * 1e6:.2f} us"
        )
    one_by_one = [f"host{n}.example{n % 977}.com" for n in range(200_000)]
    begun = time.process_time()
    for value in one_by_one:
        security.check_ioc("domain", value)
    took = time.process_time() - begun
    print(f"  domain   miss {took / len(one_by_one) * 1e6:.2f} us")
    for kind, many in (("domain", one_by_one * 5), ("ip", [f"198.51.{n % 256}.{n % 251}" for n in range(1_000_000)])):
        begun, clock = time.process_time(), time.perf_counter()
        listed = len(security.check_iocs(kind, many, matched_only=True))
        took, clock = time.process_time() - begun, time.perf_counter() - clock
        print(
            f"  {kind:<8} in bulk {len(many) / took / 1e6:.2f} M/s of CPU, {len(many) / clock / 1e6:.2f} M/s by the "
            f"clock on all cores ({listed:,} listed)"
        )


def valid(kind: str, value: str) -> bool:
    import security

    try:
        security.check_ioc(kind, value)
    except ValueError:
        return False
    return True


#: Worker processes: the first one initialises, forks the others as a server with a preloaded application does, and each
#: looks values up from all over the index, says that it is done, and waits to be measured.
WORKER = """
import os, sys, security
security.initialize(data_dir=sys.argv[1])
for _ in range(int(sys.argv[2]) - 1):
    if os.fork() == 0:
        break
for n in range(200_000):
    address = f"{n % 223 + 1}.{n * 7 % 256}.{n * 13 % 256}.{n % 256}"
    security.check_ioc("ip", address)
    security.check_ioc("url", f"http://{address}:8080/host{n}")
    security.check_ioc("ip:port", f"{address}:443")
    security.check_ioc("domain", f"host{n}.example.com")
    security.check_ioc("sha256", f"{n:064x}")
os.write(1, f"{os.getpid()}\\n".encode())
sys.stdin.read()
"""


def memory_of(data: Path, started: int, forked: int) -> tuple[float, float]:
    """MiB of so many processes, each with so many forks of it (itself included), and of the match index in them."""
    command = [sys.executable, "-c", WORKER, data, str(forked)]
    parents = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(started)]
    processes = []
    for parent in parents:
        assert parent.stdout is not None
        processes += [int(parent.stdout.readline()) for _ in range(forked)]
    taken = (sum(map(pss, processes)), sum(map(index_pss, processes)))
    for parent in parents:
        parent.communicate()
    return taken


def workers(data: Path) -> None:
    one, index = memory_of(data, 1, 1)
    print(f"  memory: one process {one:.0f} MiB, of it the match index {index:.1f}")
    for how, together in (
        ("started one by one", memory_of(data, WORKERS, 1)),
        ("forked from a first one", memory_of(data, 1, WORKERS)),
    ):
        everything, indices = together
        print(
            f"  {WORKERS} {how}: {everything:.0f} MiB, {everything / one:.2f} times one; "
            f"the match index {indices:.1f}, {indices / max(index, 0.001):.2f} times"
        )


def index_pss(process: int) -> float:
    """MiB of the match index that count for a process."""
    found, inside = 0, False
    for line in Path(f"/proc/{process}/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        if "-" in line.split(" ", 1)[0]:
            inside = line.endswith(".idx")
        elif inside and line.startswith("Pss:"):
            found += int(line.split()[1])
    return found / 1024


# -- feeds ------------------------------------------------------------------------------------------------------------


def misp_attributes(event: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from event.get("Attribute", [])
    for item in event.get("Object", []):
        yield from item.get("Attribute", [])


def misp(folder: Path, data: Path) -> None:
    files = sorted(folder.rglob("*.json"))
    meant = unmeant = 0
    broken = []
    for path in files:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            broken.append(path)
            continue
        events = document.get("response", [document]) if isinstance(document, dict) else document
        for event in events:
            for attribute in misp_attributes(event.get("Event", event)):
                # A name with its address is two indicators; a file's name with its digest is the digest.
                several = 2 if attribute["type"] == "domain|ip" else 1
                meant += several if attribute.get("to_ids") else 0
                unmeant += not attribute.get("to_ids")
    answers, problem, took = run(data, "ioc", "import", "--skip-bad", *files)
    print(f"MISP events: {len(answers)} of {len(files)} files imported in {took:.2f} s of CPU")
    same("refused", len(files) - len(answers), len(broken))
    for line in problem.strip().splitlines():
        print(f"  {line[:240]}")
    same("meant for detection", sum(a["added"] + a["merged"] + a["rejected"] for a in answers), meant)
    same("not meant for it", sum(a["left_out"].get("not meant for detection", 0) for a in answers), unmeant)


def stix(folder: Path, data: Path) -> None:
    files = sorted(path for path in folder.rglob("*.json") if b'"bundle"' in path.read_bytes()[:4096])
    counted: collections.Counter[str] = collections.Counter()
    for path in files:
        for item in json.loads(path.read_text(encoding="utf-8")).get("objects", []):
            counted["simple" if item["type"] == "indicator" and " AND " not in item["pattern"] else item["type"]] += 1
    answers, problem, took = run(data, "ioc", "import", "--skip-bad", *files)
    print(f"STIX bundles: {len(answers)} of {len(files)} imported in {took:.2f} s of CPU; {problem.strip()[:240]}")
    taken, refused = (sum(a[k] for a in answers) for k in ("added", "rejected"))
    merged = sum(a["merged"] for a in answers)
    print(f"  added {taken:,}, merged {merged:,}, rejected {refused:,}; {counted['simple']:,} indicators without AND")


def tweets(path: Path, data: Path) -> None:
    with path.open(encoding="utf-8", newline="") as lines:
        counted = sum(1 for row in csv.reader(lines) if row)
    answers, problem, took = run(data, "ioc", "import", "--skip-bad", path)
    if not answers:
        print(problem)
        return
    report = answers[0]
    taken = report["added"] + report["merged"]
    print(f"CSV feed {path.name}: {taken:,} taken, {report['rejected']} rejected in {took:.2f} s of CPU")
    same("lines", taken + report["rejected"], counted)


def warninglists(folder: Path, data: Path) -> None:
    import security

    security.initialize(data_dir=data)
    files = sorted(folder.rglob("list.json"))
    entries = sum(len(json.loads(path.read_text(encoding="utf-8"))["list"]) for path in files)
    before = pss(os.getpid())
    for path in files:
        security.load_warninglist(path)
    security.check_warninglists("ip", "192.0.2.1")
    print(f"warninglists: {len(security.list_warninglists())} of {len(files)} loaded, {entries:,} entries")
    values = [f"host{n}.example{n % 977}.com" for n in range(100_000)]
    begun = time.process_time()
    for value in values:
        security.check_warninglists("domain", value)
    took = time.process_time() - begun
    print(
        f"  {len(values) / took:,.0f} checks/s one by one from Python; "
        f"{pss(os.getpid()) - before:.0f} MiB more, compiling included"
    )


def main() -> int:
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("shared", nargs="?", type=Path, default=beside, help="the folder with the data")
    parser.add_argument("--feed", type=Path, help="keep the table of indicators as a CSV feed here")
    arguments = parser.parse_args()
    shared: Path = arguments.shared
    if not shared.is_dir():
        print(f"{shared} is not there: nothing of it is measured")
        return 0
    with tempfile.TemporaryDirectory(prefix="security-real-") as folder:
        place = Path(folder)
        misp(shared / "feeds" / "eset_misp", place / "misp")
        stix(shared / "feeds" / "unit42_stix2", place / "stix")
        for name in ("today.csv", "week.csv", "month.csv"):
            tweets(shared / "feeds" / "tweetfeed" / "csv" / name, place / "tweets")
        # Each in a process of its own: a process has one data directory, and its memory is measured.
        for measure in (
            lambda: warninglists(shared / "feeds" / "warninglists", place / "warnings"),
            lambda: indicators(shared / "indicators.parquet", place, arguments.feed),
        ):
            sys.stdout.flush()
            if (child := os.fork()) == 0:
                done = 0
                try:
                    measure()
                except Exception:
                    traceback.print_exc()
                    done = 1
                sys.stdout.flush()
                os._exit(done)
            if os.waitpid(child, 0)[1] != 0:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
