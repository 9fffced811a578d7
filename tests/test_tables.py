"""The tables that every face of the project reads, through Python."""

from __future__ import annotations

import io
import json
import unittest
from typing import Any

import security
from engine_case import EngineCase, load_table


def split(text: str) -> tuple[str, str]:
    """``type:value``, where the type's own name may hold a colon."""
    if text.startswith("ip:port:"):
        return "ip:port", text.removeprefix("ip:port:")
    kind, _, value = text.partition(":")
    return kind, value


def extract_cases() -> list[dict[str, Any]]:
    return [case for name in ("extract", "extract_reports", "extract_vendors") for case in load_table(name)["case"]]


class Texts(unittest.TestCase):
    def test_extract(self) -> None:
        # What the table's other option changes is not part of the Python surface.
        cases = [case for case in extract_cases() if "file_names" not in case]
        self.assertGreater(len(cases), 400)
        for case in cases:
            with self.subTest(case["name"]):
                text = case["text"]
                found = security.extract_iocs(
                    text, case.get("types"), case.get("max_hits"), dedupe=case.get("dedupe", False)
                )
                self.assertEqual([f"{ioc['type']}:{ioc['value']}" for ioc in found], case["finds"])
                if "defanged" in case:
                    self.assertEqual([ioc["defanged"] for ioc in found], case["defanged"])
                for ioc in found:
                    self.assertEqual(text[ioc["start"] : ioc["end"]], ioc["original"])

    def test_extract_from_bytes(self) -> None:
        for case in extract_cases():
            with self.subTest(case["name"]):
                data = case["text"].encode()
                for ioc in security.extract_iocs(data):
                    self.assertEqual(data[ioc["start"] : ioc["end"]].decode(), ioc["original"])

    def test_identify(self) -> None:
        for case in load_table("identify")["case"]:
            with self.subTest(case["name"]):
                expected = split(case["is"])[0] if case["is"] else None
                self.assertEqual(security.identify_ioc_type(case["text"]), expected)

    def test_defang(self) -> None:
        table = load_table("defang")
        for case in table["case"]:
            with self.subTest(case["name"]):
                self.assertEqual(security.refang(case["defanged"]), case["refanged"])
        for case in table["defang"]:
            with self.subTest(case["name"]):
                self.assertEqual(security.defang(case["text"]), case["defanged"])

    def test_masking(self) -> None:
        for case in load_table("masking")["case"]:
            with self.subTest(case["name"]):
                self.assertEqual(security.mask_credential(case["value"]), case["masked"])


class Credentials(EngineCase):
    def test_strength(self) -> None:
        for case in load_table("strength")["case"]:
            with self.subTest(case["name"]):
                report = security.validate_credential(case["candidate"], case["credential_type"], "r")
                for name in ("valid", "score", "length", "problems"):
                    self.assertEqual(report[name], case[name], name)

    def test_tokens(self) -> None:
        table = load_table("tokens")
        for case in table["good"]:
            with self.subTest(case["name"]):
                self.assertEqual(security.check_api_key(case["token"])["reason"], "unknown")
        for case in table["bad"]:
            with self.subTest(case["name"]):
                check = security.check_api_key(case["token"])
                self.assertFalse(check)
                self.assertIn(check["reason"], ("malformed", "unknown"))


class Match(EngineCase):
    def test_match(self) -> None:
        for case in load_table("match")["case"]:
            with self.subTest(case["name"]):
                security.initialize(data_dir=self.folder / case["name"])
                for listed in case["listed"]:
                    security.add_ioc(*split(listed), "table", 50)
                check = security.check_ioc(*split(case["check"]))
                self.assertEqual([match["match_type"] for match in check["matches"]], case["match_types"])
                self.assertEqual(bool(check), bool(case["match_types"]))


class Rules(EngineCase):
    def test_detections(self) -> None:
        cases = [case for case in load_table("rules")["case"] if "detection" in case]
        self.assertGreater(len(cases), 60)
        for case in cases:
            with self.subTest(case["name"]):
                rule = {"name": "case", "description": "", "detection": json.loads(case["detection"])}
                if "error" in case:
                    with self.assertRaises(ValueError) as raised:
                        security.test_rule(rule, [{}])
                    self.assertIn(case["error"], str(raised.exception))
                    continue
                trial = security.test_rule(rule, [json.loads(case["event"])])[0]
                self.assertEqual(trial["matched"], case["matches"])
                if "evidence" in case:
                    shown = [f"{evidence['field']}={evidence['value']}" for evidence in trial["evidence"]]
                    self.assertEqual(shown, case["evidence"])

    def test_files(self) -> None:
        cases = [case for case in load_table("rules")["case"] if "rule" in case]
        self.assertGreater(len(cases), 5)
        for case in cases:
            with self.subTest(case["name"]):
                folder = self.folder / case["name"]
                folder.mkdir()
                (folder / f"case.{case.get('format', 'json')}").write_text(case["rule"], "utf-8")
                security.initialize(data_dir=self.folder / f"{case['name']}-data")
                load = security.threat_detector.load_rules(folder)
                if "error" in case:
                    self.assertIn(case["error"], load["problems"][0]["problem"])
                    continue
                self.assertEqual(load["problems"], [])
                self.assertEqual(bool(security.threat_detector.analyze(json.loads(case["event"]))), case["matches"])


class Intel(EngineCase):
    def test_correlation(self) -> None:
        for case in load_table("correlation")["case"]:
            # A limit for the tests of the library that the Python surface does not have.
            if "common_above" in case:
                continue
            with self.subTest(case["name"]):
                iocs, intel = json.loads(case["iocs"]), json.loads(case["intel"])
                options = {name: case[name] for name in ("threshold", "max_correlations") if name in case}
                if "error" in case:
                    with self.assertRaises(ValueError) as raised:
                        security.correlate_threats(iocs, intel, **options)
                    # No results at all is refused before the engine is asked, in other words.
                    words = "max_correlations: 0" if options.get("max_correlations") == 0 else case["error"]
                    self.assertIn(words, str(raised.exception))
                    continue
                found = security.correlate_threats(iocs, intel, **options)
                self.assertEqual([self.written(correlation) for correlation in found], case["finds"])

    @staticmethod
    def written(correlation: dict[str, Any]) -> str:
        iocs = " ".join(sorted(f"{ioc['type']}:{ioc['value']}" for ioc in correlation["iocs"]))
        return f"{correlation['relation']} {correlation['score']:.2f} {iocs} / {' '.join(correlation['intel_ids'])}"

    def test_feeds(self) -> None:
        for case in load_table("feeds")["case"]:
            with self.subTest(case["name"]):
                security.initialize(data_dir=self.folder / case["name"])
                feed = io.StringIO(case["feed"])
                feed.name = case.get("file_name", "")
                read_as = case.get("format")
                if "error" in case:
                    with self.assertRaises(ValueError) as raised:
                        security.import_indicators(feed, format=read_as)
                    self.assertIn(case["error"], str(raised.exception))
                    continue
                report = security.import_indicators(feed, format=read_as, source="table")
                self.assertIn(report["format"], (read_as, case["guess"]))
                expected = {split(text) for text in case["finds"]}
                listed = {(record["type"], record["value"]) for record in security.search_intelligence(limit=1000)}
                self.assertEqual(listed, expected)
                rejected = case.get("rejects", [])
                self.assertEqual(report["rejected"], len(rejected))
                for rejection, line in zip(report["rejections"], rejected, strict=True):
                    number, _, reason = line.partition(":")
                    self.assertEqual(rejection["line"], int(number))
                    self.assertIn(reason, rejection["reason"])


if __name__ == "__main__":
    unittest.main()
