"""One peer over one text, in an environment of the peers' own: seconds of CPU, and how many finds.

`extract.py PEER FILE`, the peer used as its own documentation shows it. The caller ends it when it takes too long.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def ioc_finder(text: str) -> int:
    from ioc_finder import find_iocs

    return sum(len(found) for found in find_iocs(text).values())


def iocextract(text: str) -> int:
    import iocextract

    return sum(1 for _ in iocextract.extract_iocs(text, refang=True))


def iocsearcher(text: str) -> int:
    from iocsearcher.searcher import Searcher

    return len(Searcher().search_data(text))


PEERS = {"ioc-finder": ioc_finder, "iocextract": iocextract, "iocsearcher": iocsearcher}


def main(peer: str, file: str) -> None:
    text = Path(file).read_text("utf-8")
    PEERS[peer]("warm up 192.0.2.1")
    before = time.process_time()
    found = PEERS[peer](text)
    print(f"{time.process_time() - before:.6f}\t{found}")


if __name__ == "__main__":
    main(*sys.argv[1:])
