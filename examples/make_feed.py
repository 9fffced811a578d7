"""Writes four feeds of made-up indicators: a plain list, CSV, a MISP event, a STIX bundle.

    python examples/make_feed.py FOLDER [--count 3000] [--seed 7]

The same seed gives the same files. Names end in `.example`, addresses are those of RFC 5737 and RFC 3849, hashes
belong to nothing.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMESPACE = uuid.UUID("0c2f6f5e-3a55-4f0e-8a3b-6f4a5f0d7e21")
TIME = "2026-01-01T00:00:00.000Z"

# What examples/report.txt speaks of stands in every feed's plain list.
CAMPAIGN = [
    "login-portal.evil.example",
    "lantern.example",
    "203.0.113.66",
    "198.51.100.23",
    "8d23cf6c86e834a7aa6eded54c26ce2bb2e74903538c61bdd5d2197997ab2f72",
]

WORDS = ["amber", "basalt", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "juniper", "kelp", "larch"]


def indicators(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """So many `(type, value)`, no value twice. 192.0.2.0/24 is left to clients that mean no harm."""
    chance = random.Random(seed)
    known: set[str] = set()
    while len(known) < count:
        number = chance.randrange(10**6)
        domain = f"{chance.choice(WORDS)}-{chance.choice(WORDS)}-{number}.evil.example"
        kind, value = chance.choice(
            [
                ("ip", f"2001:db8:{chance.randrange(65536):x}::{chance.randrange(1, 65536):x}"),
                ("ip", f"{chance.choice(['198.51.100', '203.0.113'])}.{chance.randrange(1, 255)}"),
                ("domain", domain),
                ("url", f"https://{domain}/{chance.choice(WORDS)}/gate.php?id={number}"),
                ("sha256", hashlib.sha256(f"made up {number}".encode()).hexdigest()),
                ("md5", hashlib.md5(f"made up {number}".encode(), usedforsecurity=False).hexdigest()),
            ]
        )
        if value not in known:
            known.add(value)
            yield kind, value


def write_plain(path: Path, entries: list[tuple[str, str]]) -> None:
    """One value a line, with remarks; some are disarmed, as people pass them on."""
    lines = ["# Made-up indicators, one a line", *CAMPAIGN]
    for number, (_, value) in enumerate(entries):
        lines.append(value.replace(".", "[.]") if number % 10 == 0 and ":" not in value else value)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def write_csv(path: Path, entries: list[tuple[str, str]]) -> None:
    """Type, value, confidence, tags, description."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["type", "value", "confidence", "tags", "description"])
        for number, (kind, value) in enumerate(entries):
            writer.writerow([kind, value, 40 + number % 60, f"set-{number % 7}", f"made-up indicator {number}"])


def write_misp(path: Path, entries: list[tuple[str, str]]) -> None:
    """One event with an attribute an indicator."""
    kinds = {"ip": "ip-dst"}
    attributes = [
        {
            "uuid": str(uuid.uuid5(NAMESPACE, value)),
            "type": kinds.get(kind, kind),
            "category": "Network activity" if kind in ("ip", "domain", "url") else "Payload delivery",
            "value": value,
            "to_ids": True,
        }
        for kind, value in entries
    ]
    event = {"uuid": str(uuid.uuid5(NAMESPACE, path.name)), "info": "Made-up event", "date": "2026-01-01"}
    path.write_text(json.dumps({"Event": {**event, "Attribute": attributes}}), "utf-8")


def pattern(kind: str, value: str) -> str:
    """The STIX pattern that means the indicator."""
    if kind == "ip":
        return f"[ipv{6 if ':' in value else 4}-addr:value = '{value}']"
    names = {
        "domain": "domain-name:value",
        "url": "url:value",
        "sha256": "file:hashes.'SHA-256'",
        "md5": "file:hashes.MD5",
    }
    return f"[{names[kind]} = '{value}']"


def write_stix(path: Path, entries: list[tuple[str, str]]) -> None:
    """A STIX 2.1 bundle of indicators."""
    objects = [
        {
            "type": "indicator",
            "spec_version": "2.1",
            "id": f"indicator--{uuid.uuid5(NAMESPACE, value)}",
            "created": TIME,
            "modified": TIME,
            "pattern": pattern(kind, value),
            "pattern_type": "stix",
            "valid_from": TIME,
        }
        for kind, value in entries
    ]
    bundle = {"type": "bundle", "id": f"bundle--{uuid.uuid5(NAMESPACE, path.name)}", "objects": objects}
    path.write_text(json.dumps(bundle), "utf-8")


def write_feeds(folder: Path, count: int = 3000, seed: int = 7) -> list[Path]:
    """Writes the four feeds; half of the indicators into the plain list, the rest into the others."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = list(indicators(count, seed))
    half, sixth = count // 2, count // 6
    parts = [
        (write_plain, "feed.txt", entries[:half]),
        (write_csv, "feed.csv", entries[half : half + sixth]),
        (write_misp, "misp-event.json", entries[half + sixth : half + 2 * sixth]),
        (write_stix, "bundle.json", entries[half + 2 * sixth :]),
    ]
    paths = []
    for write, name, part in parts:
        write(folder / name, part)
        paths.append(folder / name)
    return paths


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Writes feeds of made-up indicators.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    for path in write_feeds(arguments.folder, arguments.count, arguments.seed):
        print(path)


if __name__ == "__main__":
    main()
