"""security.modules.threat: the whole surface, with good and bad input."""

from __future__ import annotations

import gzip
import io
import json
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

import security
from engine_case import JUNK, EngineCase


class Texts(unittest.TestCase):
    def test_offsets_are_characters_of_a_str(self) -> None:
        for text in (
            "ascii evil.example.com end",
            "čeština: evil.example.com, dále 192.0.2.1",
            "𝔞𝔟𝔠 evil[.]example[.]com 🦒 192.0.2.1 🦒",
            "lone \ud800 surrogate evil.example.com \udfff 192.0.2.1",
        ):
            with self.subTest(text.encode("utf-8", "replace")):
                found = security.extract_iocs(text)
                self.assertGreaterEqual(len(found), 1)
                for ioc in found:
                    self.assertEqual(text[ioc["start"] : ioc["end"]], ioc["original"])

    def test_offsets_are_bytes_of_bytes(self) -> None:
        for data in (
            "čeština: evil.example.com, dále 192.0.2.1".encode(),
            b"\xff\xfe\x00evil.example.com\x00\xc3 192.0.2.1\xff",
        ):
            found = security.extract_iocs(data)
            self.assertEqual([ioc["value"] for ioc in found], ["evil.example.com", "192.0.2.1"])
            for ioc in found:
                self.assertEqual(data[ioc["start"] : ioc["end"]].decode(), ioc["original"])

    def test_types_and_limit(self) -> None:
        text = "192.0.2.1 evil.example.com 192.0.2.2"
        self.assertEqual([ioc["type"] for ioc in security.extract_iocs(text, types=["domain"])], ["domain"])
        self.assertEqual([ioc["value"] for ioc in security.extract_iocs(text, limit=1)], ["192.0.2.1"])
        self.assertEqual(security.extract_iocs(""), [])
        self.assertEqual(security.extract_iocs(b""), [])

    def test_dedupe(self) -> None:
        text = "192.0.2.1 192[.]0[.]2[.]1 192.0.2.2"
        self.assertEqual(len(security.extract_iocs(text)), 3)
        found = security.extract_iocs(text, dedupe=True)
        self.assertEqual([ioc["original"] for ioc in found], ["192.0.2.1", "192.0.2.2"])
        with self.assertRaisesRegex(TypeError, "dedupe"):
            security.extract_iocs(text, dedupe="yes")  # type: ignore[arg-type]

    def test_entries_are_apart_and_whole(self) -> None:
        first, second = security.extract_iocs("a evil.example.com, evil[.]example[.]com")
        keys = ["type", "value", "original", "context", "start", "end", "defanged"]
        self.assertEqual([list(first), list(second)], [keys, keys])
        self.assertEqual([first["defanged"], second["defanged"]], [False, True])
        first["value"] = "changed"
        self.assertEqual(security.extract_iocs("evil.example.com")[0]["value"], "evil.example.com")

    def test_a_text_of_several_pieces(self) -> None:
        lines = [f"ü: c{n}[.]example[.]com und 192.0.2.{n % 250}\n" for n in range(40_000)]
        text = "".join(lines)
        found = security.extract_iocs(text)
        self.assertEqual(len(found), 2 * len(lines))
        for ioc in found:
            self.assertIs(type(ioc), dict)
            self.assertEqual(text[ioc["start"] : ioc["end"]], ioc["original"])
        unique = security.extract_iocs(text, dedupe=True)
        self.assertEqual(len(unique), len(lines) + 250)
        self.assertEqual(security.extract_iocs(text, limit=50_001), found[:50_001])
        found[0]["value"] = "changed"
        of_ours: dict[str, Any] = found[0]  # type: ignore[assignment]
        of_ours["more"] = True
        self.assertNotIn("more", found[2])
        self.assertEqual(list(found[1]), ["type", "value", "original", "context", "start", "end", "defanged"])

    def test_a_large_text(self) -> None:
        text = "nothing to see here; " * 50_000 + "evil.example.com"
        found = security.extract_iocs(text)
        self.assertEqual([ioc["start"] for ioc in found], [len(text) - len("evil.example.com")])

    def test_bad_input(self) -> None:
        with self.assertRaisesRegex(TypeError, "text"):
            security.extract_iocs(None)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "types"):
            security.extract_iocs("x", types=["shoe size"])
        with self.assertRaisesRegex(TypeError, "types"):
            security.extract_iocs("x", types="ip")
        with self.assertRaisesRegex(ValueError, "limit"):
            security.extract_iocs("x", limit=0)
        with self.assertRaisesRegex(TypeError, "value"):
            security.identify_ioc_type(7)  # type: ignore[arg-type]
        for call in (security.defang, security.refang):
            with self.assertRaisesRegex(TypeError, "text"):
                call(b"evil.example")  # type: ignore[arg-type]

    def test_identify(self) -> None:
        for value, kind in (
            ("192.0.2.1", "ip"),
            ("2001:db8::1", "ip"),
            ("192.0.2.0/24", "cidr"),
            ("evil[.]example.com", "domain"),
            ("https://evil.example.com/a", "url"),
            ("someone@evil.example.com", "email"),
            ("0123456789abcdef0123456789abcdef", "md5"),
            ("CVE-2026-12345", "cve"),
            ("just words", None),
            ("", None),
            ("\ud800", None),
        ):
            self.assertEqual(security.identify_ioc_type(value), kind, value)

    def test_defang_and_back(self) -> None:
        text = "see https://evil.example.com/a and 192.0.2.1"
        self.assertNotIn("evil.example.com", security.defang(text))
        self.assertEqual(security.refang(security.defang(text)), text)


class Files(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_a_file_gives_what_its_text_gives(self) -> None:
        line = "čeština: hxxps://c2[.]example[.]com/a, 198.51.100.7 🦒\n"
        data = (line * 40_000).encode() + b"\xff\xfe192.0.2.1"
        expected = security.extract_iocs(data)
        self.assertEqual(len(expected), 80_001)
        plain, packed = self.folder / "a.txt", self.folder / "a.txt.gz"
        plain.write_bytes(data)
        packed.write_bytes(gzip.compress(data, 1))
        self.assertEqual(list(security.extract_iter(plain)), expected)
        self.assertEqual(list(security.extract_iter(str(packed))), expected)
        with plain.open("rb") as file:
            self.assertEqual(list(security.extract_iter(file)), expected)
        self.assertEqual(next(iter(security.extract_iter(io.StringIO(line * 2)))), expected[0])
        self.assertEqual(len(list(security.extract_iter(plain, types=["url"], limit=5))), 5)
        self.assertEqual(len(list(security.extract_iter(plain, dedupe=True))), 3)
        found = security.extract_iter(packed)
        self.assertIs(iter(found), found)
        self.assertEqual(next(found), expected[0])

    def test_files_that_cannot_be_read(self) -> None:
        with self.assertRaises(FileNotFoundError):
            security.extract_iter(self.folder / "missing")
        packed = self.folder / "cut.gz"
        packed.write_bytes(gzip.compress(b"192.0.2.1\n" * 100)[:-9])
        found = security.extract_iter(packed)
        with self.assertRaises(OSError):
            list(found)
        self.assertEqual(list(found), [])

        class Broken:
            def read(self, size: int, /) -> bytes:
                raise ZeroDivisionError(size)

        with self.assertRaises(ZeroDivisionError):
            list(security.extract_iter(Broken()))
        with self.assertRaisesRegex(TypeError, "path_or_file"):
            security.extract_iter(7)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "types"):
            security.extract_iter(self.folder / "cut.gz", types=["shoe size"])
        with self.assertRaisesRegex(ValueError, "limit"):
            security.extract_iter(self.folder / "cut.gz", limit=0)


class LookUps(EngineCase):
    def test_not_everything_is_found(self) -> None:
        result = security.check_threat_intelligence("198.51.100.1")
        self.assertFalse(result)
        self.assertEqual((result["found"], result["score"], result["matches"]), (False, 0, []))

    def test_what_is_known(self) -> None:
        security.add_ioc("domain", "evil.example", "one", 90, tags=["phish"])
        security.add_ioc("domain", "evil.example", "two", 40)
        result = security.check_threat_intelligence("www.evil[.]example")
        self.assertTrue(result)
        self.assertEqual((result["value"], result["type"]), ("www.evil.example", "domain"))
        self.assertEqual(set(result["sources"]), {"one", "two"})
        self.assertEqual(result["tags"], ["phish"])
        self.assertGreaterEqual(result["score"], 50)
        json.dumps(result, indent=2)

    def test_bad_input(self) -> None:
        self.assertFalse(security.check_threat_intelligence("just words"))
        with self.assertRaisesRegex(ValueError, "value"):
            security.check_threat_intelligence("just words", "ip")
        with self.assertRaisesRegex(ValueError, "ioc_type"):
            security.check_threat_intelligence("192.0.2.1", "shoe size")
        with self.assertRaisesRegex(TypeError, "value"):
            security.check_threat_intelligence(None)  # type: ignore[arg-type]


class Rules(EngineCase):
    detector = security.threat_detector

    def create(self, detection: dict[str, Any], **options: Any) -> str:
        return security.create_threat_rule("rule", "made by a test", detection, **options)["id"]

    def test_the_rule(self) -> None:
        rule = security.create_threat_rule(
            "Odd agent",
            "a tool nobody uses here",
            {"pattern": "(?i)sqlmap", "field": "headers.user_agent"},
            "high",
            tags=["scanner"],
            recommendations=["look at the client"],
        )
        self.assertEqual((rule["severity"], rule["score"], rule["enabled"]), ("high", 60, True))
        alert = self.detector.analyze({"headers": {"user_agent": "SqlMap/1.8"}}, context={"request_id": "r-1"})[0]
        self.assertEqual((alert["rule_id"], alert["tags"]), (rule["id"], ["scanner"]))
        self.assertEqual(alert["context"], {"request_id": "r-1"})
        self.assertEqual(alert["recommendations"], ["look at the client"])
        self.assertEqual(alert["evidence"][0]["field"], "headers.user_agent")
        json.dumps(alert)

    def test_kinds_of_detection(self) -> None:
        for detection, good, bad in (
            ({"pattern": "passw(or)?d"}, "my passwd", "nothing"),
            ({"ioc": {"type": "ip", "value": "192.168.0.0/16"}}, {"ip": "192.168.4.5"}, {"ip": "192.0.2.1"}),
            ({"ioc": {"type": "domain", "value": "*.evil.example"}}, {"h": "a.evil.example"}, {"h": "evil.test"}),
            ({"condition": {"field": "user", "equals": "root"}}, {"user": "root"}, {"user": "rooted"}),
            ({"condition": {"field": "path", "contains": "../"}}, {"path": "/a/../b"}, {"path": "/a/b"}),
            (
                {"field": "status", "condition": "equals", "value": 403},
                {"status": 403},
                {"status": 200},
            ),
        ):
            with self.subTest(str(detection)):
                rule = {"name": "rule", "description": "", "detection": detection}
                trials = security.test_rule(rule, [good, bad])
                self.assertEqual([trial["matched"] for trial in trials], [True, False])

    def test_scores(self) -> None:
        for severity, score in (("critical", 80), ("high", 60), ("medium", 40), ("low", 20), ("info", 0)):
            self.assertEqual(
                security.create_threat_rule("r", "d", {"pattern": severity}, severity=severity)["score"], score
            )

    def test_alerts(self) -> None:
        self.create({"pattern": "alpha"}, severity="low")
        self.create({"pattern": "beta"}, severity="critical")
        self.detector.analyze("alpha one")
        self.detector.analyze("beta two")
        alerts = self.detector.get_recent_alerts()
        self.assertEqual([alert["severity"] for alert in alerts], ["critical", "low"])
        self.assertEqual(len(self.detector.get_recent_alerts(severity="low")), 1)
        self.assertEqual(len(self.detector.get_recent_alerts(limit=1)), 1)
        self.assertEqual(security.ThreatDetector().get_recent_alerts(), alerts)
        with self.assertRaisesRegex(ValueError, "severity"):
            self.detector.get_recent_alerts(severity="dire")
        with self.assertRaisesRegex(ValueError, "limit"):
            self.detector.get_recent_alerts(limit=0)

    def test_rule_files(self) -> None:
        folder = self.folder / "rules"
        folder.mkdir()
        (folder / "good.yml").write_text(
            "name: From a file\ndescription: ''\ndetection:\n  pattern: fromfile\nseverity: low\n", "utf-8"
        )
        (folder / "bad.json").write_text("{", "utf-8")
        load = self.detector.load_rules(folder)
        self.assertEqual(load["loaded"], 1)
        self.assertEqual([problem["file"] for problem in load["problems"]], ["bad.json"])
        self.assertEqual(len(self.detector.analyze("fromfile")), 1)
        with self.assertRaisesRegex(ValueError, "rules_dir"):
            self.detector.load_rules(self.folder / "absent")

    def test_a_file_that_a_person_drops_is_noticed(self) -> None:
        self.assertEqual(self.detector.analyze("dropped"), [])
        rule = {"id": "by-hand", "name": "By hand", "description": "", "detection": {"pattern": "dropped"}}
        (self.data_dir / "threat_rules" / "by-hand.json").write_text(json.dumps(rule), "utf-8")
        deadline = time.monotonic() + 10
        while not self.detector.analyze("dropped"):
            self.assertLess(time.monotonic(), deadline, "the file was never noticed")
            time.sleep(0.05)

    def test_bad_input(self) -> None:
        for detection, words in (
            ({}, "detection"),
            ({"pattern": "("}, "pattern"),
            ({"colour": "red"}, "colour"),
            ({"ioc": {"type": "ip", "value": "999.1.1.1"}}, "ioc"),
        ):
            with self.subTest(str(detection)), self.assertRaisesRegex(ValueError, words):
                self.create(detection)
        with self.assertRaisesRegex(ValueError, "severity"):
            self.create({"pattern": "x"}, severity="dire")
        with self.assertRaisesRegex(TypeError, "detection"):
            self.create("x")  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "detection"):
            self.create({"pattern": object()})
        with self.assertRaisesRegex(TypeError, "data"):
            self.detector.analyze(object())
        with self.assertRaisesRegex(TypeError, "events"):
            security.test_rule({"name": "r", "detection": {"pattern": "x"}}, "event")
        self.assertEqual(list((self.data_dir / "threat_rules").glob("*.json")), [])


class Detect(EngineCase):
    def test_a_request(self) -> None:
        security.create_threat_rule("Traversal", "climbs", {"pattern": r"\.\./"}, "high", recommendations=["block"])
        security.add_ioc("ip", "198.51.100.9", "us", 90)
        request = {
            "path": "/files/../../etc/passwd",
            "headers": {"X-Forwarded-For": "198.51.100.9"},
            "body": b"bytes are text",
        }
        report = security.detect_threats(request, "request-5")
        self.assertTrue(report)
        self.assertEqual((report["request_id"], report["severity"]), ("request-5", "critical"))
        self.assertEqual(report["score"], 90)
        self.assertEqual([threat["rule_name"] for threat in report["threats"]], ["Traversal"])
        self.assertEqual(report["iocs"][0]["value"], "198.51.100.9")
        self.assertEqual(report["recommendations"], ["block"])
        self.assertEqual(json.loads(json.dumps(report, indent=1)), report)

    def test_nothing(self) -> None:
        report = security.detect_threats({"path": "/"})
        self.assertFalse(report)
        self.assertEqual((report["threats"], report["iocs"], report["score"]), ([], [], 0))
        self.assertIs(report["truncated"], False)
        self.assertEqual(len(report["request_id"]), 36)

    def test_decoys_hide_nothing(self) -> None:
        security.add_ioc("domain", "evil.example", "us", 80)
        decoys = [f"10.0.{number // 256}.{number % 256}" for number in range(5000)]
        report = security.detect_threats({"decoys": decoys, "body": "to evil.example"})
        self.assertEqual([check["value"] for check in report["iocs"]], ["evil.example"])

    def test_hostile_shapes(self) -> None:
        for junk in JUNK:
            with self.subTest(type(junk).__name__):
                try:
                    self.assertFalse(security.detect_threats({"value": junk}))
                except (TypeError, ValueError) as error:
                    self.assertIn("request_data", str(error))


if __name__ == "__main__":
    unittest.main()
