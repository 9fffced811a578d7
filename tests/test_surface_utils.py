"""security.modules.utils and the set-up: the whole surface, with good and bad input."""

from __future__ import annotations

import string
import unittest
import uuid

import security
from engine_case import EngineCase


class Ids(unittest.TestCase):
    def test_request_ids(self) -> None:
        ids = {security.generate_request_id() for _ in range(1000)}
        self.assertEqual(len(ids), 1000)
        self.assertEqual({uuid.UUID(one).version for one in ids}, {4})


class Masks(unittest.TestCase):
    def test_shapes(self) -> None:
        self.assertEqual(security.mask_credential("abcdefghijklmnopqrstuvwx"), "abcd********uvwx")
        self.assertEqual(security.mask_credential(b"abcdefghijklmnopqrstuvwx"), "abcd********uvwx")
        self.assertEqual(security.mask_credential("short"), "********")
        self.assertEqual(security.mask_credential(None), "")
        self.assertNotIn("\ud800", security.mask_credential("\ud800" * 40))

    def test_what_is_refused_is_not_repeated(self) -> None:
        with self.assertRaisesRegex(TypeError, "credential") as raised:
            security.mask_credential(5318008)  # type: ignore[arg-type]
        self.assertNotIn("5318008", str(raised.exception))


class FreshSecrets(unittest.TestCase):
    def test_every_class_is_there(self) -> None:
        self.assertEqual(len(security.generate_secure_credential()), 32)
        for complexity in ("medium", "high", "very_high"):
            made = security.generate_secure_credential(40, complexity)
            self.assertEqual(len(made), 40)
            self.assertTrue(set(made) & set(string.ascii_letters), complexity)
            self.assertTrue(set(made) & set(string.digits), complexity)
            if complexity != "medium":
                self.assertTrue(set(made) & set(string.punctuation), complexity)
        self.assertTrue(security.generate_secure_credential(length=40, complexity="low").isalnum())

    def test_no_two_are_alike(self) -> None:
        self.assertEqual(len({security.generate_secure_credential(16) for _ in range(500)}), 500)

    def test_bad_input(self) -> None:
        for length in (0, -1, 1, 10**9):
            with self.assertRaisesRegex(ValueError, "length"):
                security.generate_secure_credential(length)
        with self.assertRaisesRegex(ValueError, "complexity.*very_high"):
            security.generate_secure_credential(32, "extreme")
        with self.assertRaisesRegex(TypeError, "length"):
            security.generate_secure_credential("32")  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "complexity"):
            security.generate_secure_credential(32, None)  # type: ignore[arg-type]


class Disposal(EngineCase):
    def test_a_file(self) -> None:
        for secure_delete in (False, True):
            path = self.folder / "export.csv"
            path.write_text("private", "utf-8")
            self.assertIs(security.dispose_sensitive_data(path, secure_delete=secure_delete), True)
            self.assertFalse(path.exists())
            self.assertIs(security.dispose_sensitive_data(str(path), secure_delete), False)

    def test_a_record(self) -> None:
        for secure_delete in (False, True):
            record = security.categorize_intelligence({"text": "a purple giraffe"}, "forums", "Low")
            self.assertIs(security.dispose_sensitive_data(record["id"], secure_delete=secure_delete), True)
            self.assertIsNone(security.retrieve_intelligence(record["id"]))
            self.assertIs(security.dispose_sensitive_data(record["id"]), False)

    def test_overwritten_records_leave_nothing_behind(self) -> None:
        record = security.categorize_intelligence({"text": "a purple giraffe"}, "forums", "Low")
        security.dispose_sensitive_data(record["id"], secure_delete=True)
        security.close()
        for path in (self.data_dir / "intel").iterdir():
            self.assertNotIn(b"giraffe", path.read_bytes(), path)

    def test_what_must_not_be_removed(self) -> None:
        outside = self.folder / "kept.txt"
        outside.write_text("kept", "utf-8")
        link = self.folder / "link"
        link.symlink_to(outside)
        own = self.data_dir / "credentials" / "pepper.key"
        for path in (self.folder, link, own):
            with self.assertRaisesRegex(ValueError, "path_or_intel_id"):
                security.dispose_sensitive_data(path, secure_delete=True)
        self.assertEqual(outside.read_text("utf-8"), "kept")
        self.assertTrue(own.exists())
        with self.assertRaisesRegex(TypeError, "path_or_intel_id"):
            security.dispose_sensitive_data(7)  # type: ignore[arg-type]


class SetUp(EngineCase):
    def test_status(self) -> None:
        status = security.status()
        self.assertEqual(status["version"], security.__version__)
        self.assertEqual(status["data_dir"], str(self.data_dir))
        self.assertEqual(status["journal"]["lost"], 0)
        self.assertEqual(status["counts"]["indicators"], 0)
        security.add_ioc("ip", "192.0.2.1", "us", 50)
        self.assertEqual(security.status()["counts"]["indicators_by_type"], {"ip": 1})

    def test_close_and_use_again(self) -> None:
        security.add_ioc("ip", "192.0.2.1", "us", 50)
        security.close()
        security.close()
        security.initialize(data_dir=self.data_dir)
        self.assertTrue(security.check_ioc("ip", "192.0.2.1"))

    def test_another_directory_is_another_engine(self) -> None:
        security.add_ioc("ip", "192.0.2.1", "us", 50)
        security.initialize(data_dir=self.folder / "second")
        self.assertFalse(security.check_ioc("ip", "192.0.2.1"))
        security.initialize(data_dir=str(self.data_dir))
        self.assertTrue(security.check_ioc("ip", "192.0.2.1"))

    def test_bad_input(self) -> None:
        with self.assertRaisesRegex(TypeError, "data_dir"):
            security.initialize(data_dir=5)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "config"):
            security.initialize(config=5)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "database_url"):
            security.initialize(database_url="postgresql://db.example/security")
        with self.assertRaisesRegex(ValueError, "valkey_url"):
            security.initialize(valkey_url="redis://cache.example")
        blocked = self.folder / "file"
        blocked.write_text("a file, no folder", "utf-8")
        with self.assertRaises(security.StoreError) as raised:
            security.initialize(data_dir=blocked / "data")
        self.assertIn(str(blocked), str(raised.exception))

    def test_errors_can_be_pickled(self) -> None:
        import pickle

        with self.assertRaises(security.NotFoundError) as raised:
            security.revoke_api_key("0000000000000000z")
        again = pickle.loads(pickle.dumps(raised.exception))
        self.assertIs(type(again), security.NotFoundError)
        self.assertEqual((str(again), again.code), (str(raised.exception), "not-found"))


if __name__ == "__main__":
    unittest.main()
