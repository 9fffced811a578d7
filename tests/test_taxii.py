"""security.modules.taxii against medallion, the TAXII 2.1 server of OASIS."""

from __future__ import annotations

import json
import os
import stat
import unittest
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import ClassVar

import security
from engine_case import ROOT, EngineCase
from taxii_server import START, TaxiiServer

# Kept between runs; the server makes it when it is not there.
VENV = Path(os.environ.get("SECURITY_TEST_MEDALLION", ROOT / ".venvs" / "medallion"))


class Taxii(EngineCase):
    environment: ClassVar[dict[str, str]] = {}
    server: ClassVar[TaxiiServer]

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = cls.enterClassContext(TaxiiServer(VENV)) if hasattr(cls, "enterClassContext") else cls.start()

    @classmethod
    def start(cls) -> TaxiiServer:
        server = TaxiiServer(VENV).__enter__()
        cls.addClassCleanup(server.stop)
        return server

    def setUp(self) -> None:
        super().setUp()
        server = self.server
        security.create_taxii_config("partner", server.url, server.username, server.password, description="tests")
        self.client = security.TAXIIClient("partner")

    def by_environment(self) -> None:
        os.environ["TAXII_SERVER_URL"] = self.server.url
        os.environ["TAXII_USERNAME"] = self.server.username
        os.environ["TAXII_PASSWORD"] = self.server.password
        os.environ["TAXII_COLLECTION_ID"] = self.server.collection_id
        self.reopen()

    def test_kept_servers(self) -> None:
        config = self.client.load_config()
        self.assertEqual((config["name"], config["server_url"]), ("partner", self.server.url))
        self.assertIs(config["has_password"], True)
        self.assertEqual(security.list_taxii_configs(), [config])
        self.assertNotIn(self.server.password, json.dumps(config))
        files = list((self.data_dir / "taxii_configs").iterdir())
        for path in files:
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
            self.assertNotIn(self.server.password, path.read_text("utf-8"))

    def test_collections(self) -> None:
        collections = self.client.list_collections()
        titles = {collection["title"]: collection for collection in collections}
        self.assertEqual(set(titles), set(self.server.collections))
        self.assertEqual(titles["Indicators"]["id"], self.server.collection_id)
        self.assertTrue(titles["Inbox"]["can_write"])
        self.assertEqual({collection["server_id"] for collection in collections}, {"partner"})
        found = self.client.get_collection(self.server.collection_id)
        self.assertEqual(found, titles["Indicators"])
        with self.assertRaises(security.NotFoundError):
            self.client.get_collection("00000000-0000-4000-8000-000000000000")

    def test_fetch(self) -> None:
        objects = self.client.fetch_intelligence("partner", self.server.collection_id, limit=10_000)
        self.assertEqual(len(objects), self.server.objects)
        self.assertEqual(len({item["id"] for item in objects}), self.server.objects)
        few = self.client.fetch_intelligence("partner", self.server.collection_id, limit=7)
        self.assertEqual(len(few), 7)
        self.assertEqual(security.search_intelligence(), [], "fetching stores nothing")

    def test_fetch_by_time(self) -> None:
        collection = self.server.collection_id
        late = START + timedelta(days=30, seconds=200)
        for start in (late, late.isoformat().replace("+00:00", "Z"), late.replace(tzinfo=None)):
            some = self.client.fetch_intelligence("partner", collection, start_time=start, limit=10_000)
            self.assertGreater(len(some), 0)
            self.assertLess(len(some), self.server.objects)
        future = datetime(2090, 1, 1, tzinfo=timezone.utc)
        self.assertEqual(self.client.fetch_intelligence("partner", collection, start_time=future), [])
        early = self.client.fetch_intelligence(
            "partner", collection, end_time=START + timedelta(minutes=30), limit=10_000
        )
        self.assertGreater(len(early), 0)
        self.assertLess(len(early), self.server.objects)

    def test_ingest(self) -> None:
        report = self.client.ingest_intelligence("partner", self.server.collection_id, store=False, limit=10_000)
        self.assertEqual(report["objects"], self.server.objects)
        self.assertGreater(report["indicators_added"], 150)
        self.assertEqual(report["intel_ids"], [])
        self.assertTrue(report["skipped"])
        check = security.check_ioc("domain", "host-000.evil.example")
        self.assertTrue(check)
        self.assertEqual(check["matches"][0]["ioc"]["source"], "taxii:partner")
        again = self.client.ingest_intelligence("partner", self.server.collection_id, store=False, limit=10_000)
        self.assertEqual(again["indicators_added"], 0)
        self.assertGreater(again["indicators_merged"], 150)

    def test_ingest_with_records(self) -> None:
        reports = self.server.collections["Reports"]
        report = self.client.ingest_intelligence("partner", reports["id"], priority_level="High", limit=10_000)
        self.assertEqual(len(report["intel_ids"]), reports["objects"])
        self.assertEqual(report["intel_added"], reports["objects"])
        again = self.client.ingest_intelligence("partner", reports["id"], limit=10_000)
        self.assertEqual((again["intel_ids"], again["intel_added"]), (report["intel_ids"], 0))
        record = security.retrieve_intelligence(report["intel_ids"][0])
        assert record is not None
        self.assertEqual((record["source_type"], record["priority_level"]), ("taxii:partner", "High"))

    def test_the_functions_of_the_default_server(self) -> None:
        self.by_environment()
        self.assertEqual(security.connect_to_taxii_server()["title"], "Test server")
        self.assertEqual(security.get_taxii_collection()["id"], self.server.collection_id)
        records = security.import_stix_indicators(limit=50)
        self.assertGreater(len(records), 20)
        self.assertTrue(security.check_ioc(records[0]["type"], records[0]["value"]))
        client = security.TAXIIClient()
        self.assertEqual(client.load_config()["server_url"], self.server.url)
        server_id = client.list_collections()[0]["server_id"]
        self.assertTrue(client.fetch_intelligence(server_id, self.server.collection_id, limit=3))

    def test_the_only_kept_server_is_the_default(self) -> None:
        self.assertEqual(security.connect_to_taxii_server()["title"], "Test server")
        security.create_taxii_config("second", self.server.url)
        with self.assertRaises(security.ConfigurationError):
            security.connect_to_taxii_server()

    def test_export(self) -> None:
        self.assertIsNone(security.export_iocs_to_stix())
        security.add_ioc("ip", "192.0.2.1", "us", 50)
        path = security.export_iocs_to_stix()
        assert path is not None
        self.assertEqual(Path(path).parent, self.data_dir / "intel")
        bundle = json.loads(Path(path).read_text("utf-8"))
        patterns = [item["pattern"] for item in bundle["objects"] if item["type"] == "indicator"]
        self.assertEqual(patterns, ["[ipv4-addr:value = '192.0.2.1']"])
        security.initialize(data_dir=self.folder / "other")
        self.assertEqual(security.import_indicators(path)["added"], 1)

    def test_refusals(self) -> None:
        security.create_taxii_config("wrong", self.server.url, self.server.username, "not the password")
        with self.assertRaises(security.TaxiiError) as raised:
            security.TAXIIClient("wrong").list_collections()
        self.assertNotIn("not the password", str(raised.exception))
        self.assertTrue(raised.exception.code.startswith("taxii"))
        security.create_taxii_config("gone", "http://127.0.0.1:9/taxii2/")
        with self.assertRaises(security.TaxiiError):
            security.TAXIIClient("gone").list_collections()
        with self.assertRaises(security.NotFoundError):
            security.TAXIIClient("absent").load_config()
        with self.assertRaises(security.NotFoundError):
            security.TAXIIClient("absent").list_collections()

    def test_bad_input(self) -> None:
        for name, url in (
            ("../x", self.server.url),
            ("", self.server.url),
            ("x", "ftp://x.example/"),
            ("x", "nonsense"),
        ):
            with self.assertRaises(ValueError):
                security.create_taxii_config(name, url)
        with self.assertRaisesRegex(ValueError, "start_time"):
            self.client.fetch_intelligence(start_time="yesterday")
        with self.assertRaisesRegex(TypeError, "end_time"):
            self.client.fetch_intelligence(end_time=7)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "limit"):
            self.client.fetch_intelligence(limit=0)
        with self.assertRaisesRegex(ValueError, "limit"):
            security.import_stix_indicators(limit=-5)
        with self.assertRaises(ValueError):
            self.client.ingest_intelligence(None, self.server.collection_id, priority_level="urgent", limit=5)
        with self.assertRaisesRegex(TypeError, "collections"):
            security.create_taxii_config("x", self.server.url, collections="one")

    def test_stix_is_there(self) -> None:
        self.assertIs(security.STIX_AVAILABLE, True)


if __name__ == "__main__":
    unittest.main()
