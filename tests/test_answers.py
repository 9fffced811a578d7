"""Answers are dictionaries that say yes or no, for every reader of dictionaries."""

from __future__ import annotations

import copy
import json
import pickle
import unittest

from security.answers import Answer, IocCheck, KeyCheck, StrengthReport, ThreatLookup, ThreatReport


class Answers(unittest.TestCase):
    def test_the_verdict_decides(self) -> None:
        for kind, name in (
            (IocCheck, "matched"),
            (ThreatLookup, "found"),
            (StrengthReport, "valid"),
            (KeyCheck, "valid"),
            (ThreatReport, "detected"),
        ):
            with self.subTest(kind=kind.__name__):
                self.assertTrue(kind({name: True}))
                self.assertFalse(kind({name: False, "other": True}))
                self.assertFalse(kind({}))

    def test_json_holds_everything_whatever_the_verdict(self) -> None:
        no = IocCheck({"matched": False, "matches": []})
        for indent in (None, 2):
            with self.subTest(indent=indent):
                self.assertEqual(json.loads(json.dumps(no, indent=indent)), dict(no))
                self.assertEqual(json.loads(json.dumps({"check": [no]}, indent=indent)), {"check": [dict(no)]})
        self.assertEqual(json.dumps(IocCheck(), indent=2), "{}")

    def test_they_are_dictionaries(self) -> None:
        no = IocCheck({"matched": False})
        self.assertIsInstance(no, dict)
        self.assertEqual(no, {"matched": False})
        self.assertEqual(len(no), 1)
        self.assertEqual({**no}, {"matched": False})
        for copied in (copy.deepcopy(no), pickle.loads(pickle.dumps(no))):
            self.assertIs(type(copied), IocCheck)
            self.assertEqual(copied, no)
        self.assertIsInstance(no, Answer)


if __name__ == "__main__":
    unittest.main()
