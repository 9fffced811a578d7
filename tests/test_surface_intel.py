"""security.modules.intel: the whole surface, with good and bad input."""

from __future__ import annotations

import io
import json
import threading
import unittest
from pathlib import Path
from typing import Any

import security
from engine_case import EngineCase


class Indicators(EngineCase):
    def test_the_record(self) -> None:
        record = security.add_ioc(
            "domain", "EVIL[.]Example.", "feed one", 70, "phishing", tags=["phish"], related_intel_ids=("intel--1",)
        )
        expected = {
            "type": "domain",
            "value": "evil.example",
            "original": "EVIL[.]Example.",
            "source": "feed one",
            "confidence": 70,
            "description": "phishing",
            "tags": ["phish"],
            "related_intel_ids": ["intel--1"],
            "active": True,
            "kind": "ioc",
        }
        self.assertEqual({name: dict(record)[name] for name in expected}, expected)
        self.assertEqual(record["id"], record["ioc_id"])
        for name in ("first_seen", "last_seen", "created_at", "updated_at"):
            self.assertRegex(str(dict(record)[name]), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        json.dumps(record)

    def test_the_same_value_again_is_merged(self) -> None:
        first = security.add_ioc("ip", "192.0.2.1", "one", 60, tags=["a"])
        second = security.add_ioc("ipv4", "192[.]0[.]2[.]1", "two", 40, tags=["b"])
        self.assertEqual(first["id"], second["id"])
        self.assertEqual(second["confidence"], 60)
        self.assertEqual({word["source"] for word in second["sources"]}, {"one", "two"})
        self.assertEqual(set(second["tags"]), {"a", "b"})
        self.assertEqual(security.check_ioc("ip", "192.0.2.1")["count"], 1)

    def test_ways_to_match(self) -> None:
        security.add_ioc("cidr", "192.168.0.0/16", "us", 50)
        security.add_ioc("domain", "evil.example", "us", 50)
        security.add_ioc("url", "https://shop.example/gate", "us", 50)
        for kind, value, how in (
            ("ip", "192.168.3.4", "cidr"),
            ("domain", "a.b.evil.example", "subdomain"),
            ("url", "https://shop.example/gate/panel?x=1", "url-prefix"),
        ):
            with self.subTest(value):
                check = security.check_ioc(kind, value)
                self.assertTrue(check)
                self.assertEqual(check["matches"][0]["match_type"], how)
        for kind, value in (("ip", "192.169.0.1"), ("domain", "notevil.example"), ("url", "https://shop.example/")):
            with self.subTest(value):
                check = security.check_ioc(kind, value)
                self.assertFalse(check)
                self.assertEqual((check["matched"], check["count"], check["matches"]), (False, 0, []))

    def test_many_at_once(self) -> None:
        security.add_ioc("ip", "192.0.2.7", "us", 50)
        values = [f"192.0.2.{number}" for number in range(10)]
        checks = security.check_iocs("ip", values)
        self.assertEqual([bool(check) for check in checks], [value == "192.0.2.7" for value in values])
        self.assertEqual(security.check_iocs("ip", iter(())), [])
        (met,) = security.check_iocs("ip", values, matched_only=True)
        self.assertEqual((met.pop("index"), met["value"]), (7, "192.0.2.7"))
        self.assertEqual(met.keys(), checks[7].keys())
        with self.assertRaisesRegex(ValueError, "value.*evil"):
            security.check_iocs("ip", [*values, "evil\ud800"], matched_only=True)

    def test_very_many_at_once_come_in_their_order(self) -> None:
        for number in (5, 40_000, 69_999):
            security.add_ioc("domain", f"h{number}.example", "us", 50)
        values = [f"H{number}.example" for number in range(70_000)]
        met = security.check_iocs("domain", values, matched_only=True)
        self.assertEqual([check["index"] for check in met], [5, 40_000, 69_999])
        self.assertEqual([check["value"] for check in met], ["h5.example", "h40000.example", "h69999.example"])

    def test_a_text_is_scanned(self) -> None:
        security.add_ioc("domain", "evil.example", "us", 50)
        security.add_ioc("cidr", "198.51.100.0/24", "us", 50)
        text = "Größe: www[.]evil[.]example, other.example, 198.51.100.7, evil.example"
        met = security.scan_text(text)
        self.assertEqual([text[one["start"] : one["end"]] for one in met], [one["original"] for one in met])
        self.assertEqual([one["value"] for one in met], ["www.evil.example", "198.51.100.7", "evil.example"])
        self.assertEqual([one["matches"][0]["match_type"] for one in met], ["subdomain", "cidr", "exact"])
        self.assertTrue(met[0]["defanged"])
        self.assertEqual(met[0].keys() - {"matches"}, security.extract_iocs(text)[0].keys())
        encoded = text.encode()
        self.assertEqual(
            [encoded[one["start"] : one["end"]].decode() for one in security.scan_text(encoded)],
            [one["original"] for one in met],
        )
        self.assertEqual([one["value"] for one in security.scan_text(text, types=["ip"])], ["198.51.100.7"])
        self.assertEqual(len(security.scan_text(text, limit=2)), 2)
        self.assertEqual(security.scan_text(""), [])
        # A URL without a scheme is met below its host.
        bare = security.scan_text("asks evil[.]example/gate.php now")
        self.assertEqual([one["value"] for one in bare], ["http://evil.example/gate.php"])
        self.assertEqual(bare[0]["original"], "evil[.]example/gate.php")
        self.assertEqual(bare[0]["matches"][0]["ioc"]["value"], "evil.example")
        # Findings beyond those looked up at a time, each in its place.
        many = "other.example " * 9000 + "evil.example"
        self.assertEqual([one["start"] for one in security.scan_text(many)], [9000 * 14])
        with self.assertRaisesRegex(ValueError, "types"):
            security.scan_text("x", types=["shoe size"])
        with self.assertRaisesRegex(TypeError, "text"):
            security.scan_text(7)  # type: ignore[arg-type]

    def test_warninglists(self) -> None:
        resolvers = {"name": "Resolvers", "type": "cidr", "list": ["8.8.8.0/24"], "matching_attributes": ["ip-dst"]}
        info = security.load_warninglist(resolvers)
        self.assertEqual((info["name"], info["entries"], info["ioc_types"]), ("Resolvers", 1, ["ip", "cidr"]))
        path = self.folder / "top.json"
        path.write_text(json.dumps({"name": "Top", "type": "hostname", "list": ["google.com"], "version": 2}))
        self.assertEqual(security.load_warninglist(path)["version"], 2)
        self.assertEqual({known["name"] for known in security.list_warninglists()}, {"Resolvers", "Top"})
        (warning,) = security.check_warninglists("ip", "8.8.8[.]8")
        self.assertEqual(warning, {"list": "Resolvers", "match_type": "cidr", "entry": "8.8.8.0/24"})
        self.assertEqual(security.check_warninglists("ip", "10.1.2.3")[0]["entry"], "private")
        self.assertEqual(security.check_warninglists("domain", "notgoogle.com"), [])
        text = "8.8.8.8 9.9.9.9 www.google.com"
        values = [found["value"] for found in security.extract_iocs(text, warninglists="drop")]
        self.assertEqual(values, ["9.9.9.9"])
        flagged = security.extract_iocs(text, warninglists="flag")
        self.assertEqual([len(found["warnings"]) for found in flagged], [1, 0, 1])
        self.assertNotIn("warnings", security.extract_iocs(text)[0])
        security.add_ioc("ip", "8.8.8.8", "us", 50)
        self.assertEqual(len(security.scan_text(text)), 1)
        self.assertEqual(security.scan_text(text, warninglists="flag")[0]["warnings"], [warning])
        self.assertEqual(security.scan_text(text, warninglists="drop"), [])
        self.assertTrue(security.remove_warninglist("Resolvers"))
        self.assertFalse(security.remove_warninglist("Resolvers"))
        self.assertEqual(security.check_warninglists("ip", "8.8.8.8"), [])
        with self.assertRaisesRegex(ValueError, "path_or_dict.*no network"):
            security.load_warninglist(resolvers | {"list": ["x"]})
        with self.assertRaisesRegex(ValueError, "warninglists.*keep, flag and drop"):
            security.extract_iocs(text, warninglists="shoes")
        with self.assertRaises(FileNotFoundError):
            security.load_warninglist("/nowhere/list.json")
        with self.assertRaisesRegex(TypeError, "path_or_dict"):
            security.load_warninglist(7)  # type: ignore[arg-type]

    def test_an_answer_is_the_callers_to_change(self) -> None:
        security.add_ioc("ip", "192.0.2.7", "us", 50, tags=["c2"], related_intel_ids=["intel--1"])
        first = security.check_ioc("ip", "192.0.2.7")
        whole = json.dumps(security.check_ioc("ip", "192.0.2.7")["matches"][0]["ioc"])

        def spoil(value: object) -> None:
            if isinstance(value, dict):
                for inner in value.values():
                    spoil(inner)
                value.clear()
            elif isinstance(value, list):
                for inner in value:
                    spoil(inner)
                value.append("spoilt")

        spoil(first)
        self.assertEqual(json.dumps(security.check_ioc("ip", "192.0.2.7")["matches"][0]["ioc"]), whole)
        # What another word changes is seen by the next call.
        security.add_ioc("ip", "192.0.2.7", "them", 90)
        record = security.check_ioc("ip", "192.0.2.7")["matches"][0]["ioc"]
        self.assertEqual((record["confidence"], record["sightings"], len(record["sources"])), (90, 2, 2))

    def test_bad_input(self) -> None:
        for confidence in (-1, 101, 10**6):
            with self.assertRaisesRegex(ValueError, "confidence.*0 to 100"):
                security.add_ioc("ip", "192.0.2.1", "us", confidence)
        for odd in ("80", None, 80.5):
            with self.assertRaisesRegex(TypeError, "confidence"):
                security.add_ioc("ip", "192.0.2.1", "us", odd)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "ioc_type.*domain"):
            security.add_ioc("shoe size", "44", "us", 5)
        for value in ("999.1.1.1", "", "\ud800", "evil.example", "x" * 100_000):
            with self.assertRaisesRegex(ValueError, "value"):
                security.add_ioc("ip", value, "us", 5)
            with self.assertRaisesRegex(ValueError, "value"):
                security.check_ioc("ip", value)
        with self.assertRaisesRegex(TypeError, "value"):
            security.check_ioc("ip", None)  # type: ignore[arg-type]
        for source in ("", " ", "a\nb"):
            with self.assertRaisesRegex(ValueError, "source"):
                security.add_ioc("ip", "192.0.2.1", source, 5)
        with self.assertRaisesRegex(TypeError, "tags"):
            security.add_ioc("ip", "192.0.2.1", "us", 5, tags="phish")
        with self.assertRaisesRegex(TypeError, "values"):
            security.check_iocs("ip", "192.0.2.1")
        self.assertEqual(security.search_intelligence(), [])

    def test_threads(self) -> None:
        def add(offset: int) -> None:
            for number in range(40):
                security.add_ioc("ip", f"192.0.2.{number}", f"source {offset}", 50)

        threads = [threading.Thread(target=add, args=(offset,)) for offset in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        records = security.search_intelligence(query={"type": "ip"})
        self.assertEqual(len(records), 40)
        self.assertEqual({len(record["sources"]) for record in records}, {4})


class Intelligence(EngineCase):
    def test_file_and_read(self) -> None:
        record = security.categorize_intelligence(
            {"title": "Credentials of corp.example for sale", "text": "panel at 198.51.100.9 and evil[.]example.com"},
            "dark_web",
            "high",
        )
        self.assertEqual(record["metadata"]["source_type"], "dark_web")
        self.assertEqual(record["metadata"]["priority_level"], "High")
        self.assertIn({"type": "ip", "value": "198.51.100.9"}, record["iocs"])
        self.assertEqual(record["metadata"]["ioc_count"], len(record["iocs"]))
        self.assertEqual(security.retrieve_intelligence(record["id"]), record)
        self.assertIsNone(security.retrieve_intelligence("intel--none"))

    def test_every_source_type(self) -> None:
        for source_type in (
            "forums",
            "marketplaces",
            "paste_sites",
            "social_media",
            "dark_web",
            "code_repositories",
            "leaked_databases",
            "other",
            "taxii:partner",
            "feed:daily",
        ):
            with self.subTest(source_type):
                record = security.categorize_intelligence({"text": "x"}, source_type, "Low")
                self.assertEqual(record["source_type"], source_type)

    def test_any_json_is_data(self) -> None:
        for data in ("words", 7, 2.5, None, True, [1, "two"], {"deep": {"er": [b"bytes", (1, 2)]}}):
            with self.subTest(str(data)):
                self.assertIsNotNone(security.categorize_intelligence(data, "other", "Low")["id"])

    def test_bad_input(self) -> None:
        with self.assertRaisesRegex(ValueError, "source_type"):
            security.categorize_intelligence({}, "gossip", "Low")
        with self.assertRaisesRegex(ValueError, "priority_level.*Critical"):
            security.categorize_intelligence({}, "other", "urgent")
        loop: list[Any] = []
        loop.append(loop)
        for data, error in (
            (object(), TypeError),
            ({1: 2}, TypeError),
            ({"a": {1, 2}}, TypeError),
            (loop, ValueError),
            (float("nan"), ValueError),
            (2**64, ValueError),
        ):
            with self.subTest(type(data).__name__), self.assertRaisesRegex(error, "data"):
                security.categorize_intelligence(data, "other", "Low")
        with self.assertRaisesRegex(ValueError, "intel_id"):
            security.retrieve_intelligence("")

    def test_search(self) -> None:
        forum = security.categorize_intelligence({"author": "mallory", "text": "a purple giraffe"}, "forums", "High")
        paste = security.categorize_intelligence({"author": "trent", "text": "a dump"}, "paste_sites", "Low")
        ioc = security.add_ioc("ip", "192.0.2.1", "us", 50, "giraffe", tags=["zoo"])

        def ids(**options: Any) -> set[str]:
            return {record["id"] for record in security.search_intelligence(**options)}

        self.assertEqual(ids(), {forum["id"], paste["id"], ioc["id"]})
        self.assertEqual(ids(query={"type": "ip"}), {ioc["id"]})
        self.assertEqual(ids(query={"data.author": "mal*"}), {forum["id"]})
        self.assertEqual(ids(query={"metadata.priority_level": "Low"}), {paste["id"]})
        self.assertEqual(ids(source_type="forums"), {forum["id"]})
        self.assertEqual(ids(priority_level="low"), {paste["id"]})
        self.assertEqual(ids(tags=["zoo"]), {ioc["id"]})
        self.assertEqual(ids(text="giraffe"), {forum["id"], ioc["id"]})
        self.assertEqual(len(ids(limit=2)), 2)
        self.assertEqual(ids(query={"type": "ip", "value": "192.0.2.2"}), set())
        for bad in ({"limit": 0}, {"limit": 10**6}, {"source_type": "gossip"}, {"priority_level": "x"}, {"query": [1]}):
            with self.assertRaisesRegex(ValueError, next(iter(bad))):
                security.search_intelligence(**bad)


class Reports(EngineCase):
    def test_what_belongs_together(self) -> None:
        record = security.categorize_intelligence({"text": "beacons to 192.0.2.7 every hour"}, "forums", "High")
        correlations = security.correlate_threats([{"type": "ip", "value": "192.0.2.7"}])
        self.assertEqual(correlations[0]["intel_ids"], [record["id"]])
        report = security.generate_threat_report(correlations)
        self.assertEqual(report["status"], "threats_detected")
        self.assertIn("192[.]0[.]2[.]7", report["markdown"], "harmless to click")
        json.dumps(report)
        nothing = security.generate_threat_report([])
        self.assertEqual(nothing["status"], "no_threats_detected")

    def test_bad_input(self) -> None:
        for threshold in (-0.1, 1.5, float("nan")):
            with self.assertRaisesRegex(ValueError, "threshold"):
                security.correlate_threats([], [], threshold=threshold)
        with self.assertRaisesRegex(ValueError, "max_correlations"):
            security.correlate_threats([], [], max_correlations=0)
        with self.assertRaisesRegex(ValueError, "iocs"):
            security.correlate_threats(7)
        with self.assertRaisesRegex(ValueError, "correlations"):
            security.generate_threat_report([{"no": "correlation"}])

    def test_compliance(self) -> None:
        report = security.generate_compliance_report()
        self.assertIn(report["status"], ("pass", "warn", "fail"))
        self.assertTrue(report["checks"])
        json.dumps(report)


class Exchange(EngineCase):
    def test_round_trips(self) -> None:
        security.add_ioc("ip", "192.0.2.1", "us", 50)
        security.add_ioc("domain", "evil.example", "us", 80, tags=["phish"])
        before = {(record["type"], record["value"]) for record in security.search_intelligence()}
        for format in ("plain", "csv", "json", "jsonl", "misp", "stix"):
            with self.subTest(format):
                path = self.folder / f"out.{format}"
                security.initialize(data_dir=self.data_dir)
                self.assertEqual(security.export_indicators(path, format)["n_written"], 2)
                security.initialize(data_dir=self.folder / f"data-{format}")
                report = security.import_indicators(path, format=format, source="again")
                self.assertEqual((report["added"], report["rejected"]), (2, 0))
                after = {(record["type"], record["value"]) for record in security.search_intelligence()}
                self.assertEqual(after, before)

    def test_exports_for_sensors(self) -> None:
        security.add_ioc("ip", "192.0.2.1", "us", 50)
        security.add_ioc("domain", "evil.example", "us", 80, description="tab\there\nand a line")
        expected = {
            "zeek": "evil.example\tIntel::DOMAIN\tus\t",
            "suricata-text": "ZXZpbC5leGFtcGxl",
            "suricata-ip": "192.0.2.1",
            "rpz": "*.evil.example CNAME .",
        }
        for format, line in expected.items():
            with self.subTest(format):
                path = self.folder / format
                report = security.export_indicators(path, format)
                self.assertIn(line, path.read_text("utf-8"))
                self.assertEqual(report["n_written"] + sum(report["left_out"].values()), 2)

    def test_filters(self) -> None:
        security.add_ioc("ip", "192.0.2.1", "us", 50)
        security.add_ioc("domain", "evil.example", "them", 80, tags=["phish"])
        path = self.folder / "out"
        for filters in ({"ioc_type": "domain"}, {"source": "them"}, {"tag": "phish"}, {"min_confidence": 60}):
            security.export_indicators(path, "plain", **filters)
            text = path.read_text("utf-8")
            self.assertIn("evil.example", text)
            self.assertNotIn("192.0.2.1", text)
        self.assertEqual([name.name for name in self.folder.iterdir() if "part" in name.name], [])

    def test_files_of_every_sort(self) -> None:
        path = self.folder / "feed.txt"
        path.write_text("192.0.2.1\n# a comment\n192.0.2.2\nno indicator\n", "utf-8")
        with path.open("rb") as binary, path.open(encoding="utf-8") as text:
            for given in (str(path), path, binary, text, io.BytesIO(path.read_bytes()), io.StringIO(path.read_text())):
                report = security.import_indicators(given)
                self.assertEqual((report["format"], report["added"] + report["merged"]), ("plain", 2))
                self.assertEqual(report["rejections"][0]["line"], 4)

    def test_an_own_export_comes_back_whole(self) -> None:
        security.add_ioc("domain", "evil.example", "us", 80, tags=["phish"])
        before = security.add_ioc("domain", "evil.example", "them", 60)
        path = self.folder / "out.json"
        security.export_indicators(path, "json")
        for source, sources in ((None, before["sources"]), ("again", None)):
            security.initialize(data_dir=self.folder / f"data-{source}")
            security.import_indicators(path, source=source)
            (after,) = security.search_intelligence()
            self.assertEqual(after["first_seen"], before["first_seen"])
            self.assertEqual(after["tags"], before["tags"])
            if sources is None:
                self.assertEqual([known["source"] for known in after["sources"]], ["again"])
            else:
                self.assertEqual(after["sources"], sources)

    def test_attributes_that_are_not_for_detection(self) -> None:
        event = {"Event": {"Attribute": [{"type": "domain", "value": "evil.example", "to_ids": False}]}}
        report = security.import_indicators(io.StringIO(json.dumps(event)))
        self.assertEqual((report["added"], report["left_out"]), (0, {"not meant for detection": 1}))
        report = security.import_indicators(io.StringIO(json.dumps(event)), all_attributes=True)
        self.assertEqual((report["added"], report["left_out"]), (1, {}))

    def test_a_list_of_one_type(self) -> None:
        self.assertEqual(security.import_indicators(io.StringIO("setup.py\n"))["rejected"], 1)
        self.assertEqual(security.import_indicators(io.StringIO("setup.py\n"), ioc_type="domain")["added"], 1)
        self.assertTrue(security.check_ioc("domain", "setup.py"))
        with self.assertRaisesRegex(ValueError, "ioc_type"):
            security.import_indicators(io.StringIO("setup.py\n"), ioc_type="planet")

    def test_progress(self) -> None:
        feed = "".join(f"198.51.{number // 256 % 100}.{number % 256}\n" for number in range(25_000))
        told: list[dict[str, int]] = []
        report = security.import_indicators(io.StringIO(feed), confidence=90, source="bulk", progress=told.append)
        self.assertEqual(report["added"] + report["merged"], 25_000)
        self.assertGreaterEqual(len(told), 2)
        self.assertEqual([step["imported"] for step in told], sorted(step["imported"] for step in told))

    def test_what_the_callers_code_raises_ends_the_import(self) -> None:
        feed = "".join(f"198.51.{number // 256 % 100}.{number % 256}\n" for number in range(200_000))

        def stop(_progress: dict[str, int]) -> None:
            raise KeyError("enough")

        with self.assertRaisesRegex(KeyError, "enough"):
            security.import_indicators(io.StringIO(feed), progress=stop)

        class Broken(io.RawIOBase):
            def read(self, size: int = -1) -> bytes:
                raise ZeroDivisionError("the disk is a lemon")

        with self.assertRaisesRegex(ZeroDivisionError, "lemon"):
            security.import_indicators(Broken())

    def test_bad_input(self) -> None:
        with self.assertRaises(FileNotFoundError) as raised:
            security.import_indicators(self.folder / "absent.csv")
        self.assertEqual(Path(raised.exception.filename), self.folder / "absent.csv")
        with self.assertRaisesRegex(ValueError, "format"):
            security.import_indicators(io.StringIO(""), format="pdf")
        with self.assertRaisesRegex(ValueError, "confidence"):
            security.import_indicators(io.StringIO(""), confidence=101)
        with self.assertRaisesRegex(TypeError, "path_or_file"):
            security.import_indicators(7)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "format"):
            security.export_indicators(self.folder / "out", "pdf")
        with self.assertRaisesRegex(ValueError, "confidence.*0 to 100"):
            security.export_indicators(self.folder / "out", "plain", min_confidence=101)
        with self.assertRaises(FileNotFoundError):
            security.export_indicators(self.folder / "no" / "out", "plain")
        self.assertFalse((self.folder / "out").exists(), "what failed leaves nothing behind")


if __name__ == "__main__":
    unittest.main()
