"""Every call of the user's own document, in the form in which it stands there."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import unittest

import security
from engine_case import FOLDERS, ROOT, VALUES, EngineCase
from flask import Flask


class Document(EngineCase):
    def test_initialize(self) -> None:
        security.initialize()
        security.initialize()
        for folder in FOLDERS:
            path = self.data_dir / folder
            self.assertTrue(path.is_dir(), folder)
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o700, folder)

    def test_everything_works_without_initialize(self) -> None:
        code = "import security; print(security.verify_api_key('api-key-for-tests-6f1c09'))"
        self.assertEqual(self.run_python(code), "True\n")

    def test_the_default_data_directory_is_data(self) -> None:
        code = (
            "import os; os.environ.pop('SECURITY_DATA_DIR')\n"
            "import security; security.initialize(); print(os.path.isdir('data/credentials'))"
        )
        self.assertEqual(self.run_python(code), "True\n")

    def test_verify_an_api_key(self) -> None:
        api_key = VALUES["API_KEY"]
        is_valid = security.verify_api_key(api_key)
        self.assertIs(is_valid, True)
        self.assertIs(security.verify_api_key(api_key + "x"), False)

    def test_verify_a_database_password(self) -> None:
        password = VALUES["DB_PASSWORD"]
        is_valid = security.verify_db_password(password)
        self.assertIs(is_valid, True)
        self.assertIs(security.verify_db_password(VALUES["API_KEY"]), False)

    def test_log_credential_usage(self) -> None:
        request_id = security.log_credential_usage("api_key", "component", "operation")
        security.flush()
        record = security.get_recent_usage()[0]
        self.assertEqual(record["request_id"], request_id)
        self.assertEqual(
            (record["credential_type"], record["component"], record["operation"], record["success"]),
            ("API_KEY", "component", "operation", True),
        )

    def test_add_and_check_an_ioc(self) -> None:
        security.add_ioc("ip", "192.168.1.1", "internal", 80)
        result = security.check_ioc("ip", "192.168.1.1")
        self.assertTrue(result)
        self.assertEqual(result["count"], 1)
        self.assertEqual(result["matches"][0]["ioc"]["value"], "192.168.1.1")
        self.assertEqual(result["matches"][0]["match_type"], "exact")
        self.assertFalse(security.check_ioc("ip", "192.168.1.2"))

    def test_search_intelligence(self) -> None:
        security.add_ioc("ip", "192.168.1.1", "internal", 80)
        security.add_ioc("domain", "evil.example", "internal", 80)
        results = security.search_intelligence(query={"type": "ip"})
        self.assertEqual([record["value"] for record in results], ["192.168.1.1"])

    def test_extract_iocs(self) -> None:
        text = "beacon from 192.168.1.1 to evil[.]example.com"
        iocs = security.extract_iocs(text)
        self.assertEqual(
            [(ioc["type"], ioc["value"], ioc["defanged"]) for ioc in iocs],
            [("ip", "192.168.1.1", False), ("domain", "evil.example.com", True)],
        )

    def test_check_threat_intelligence(self) -> None:
        self.assertFalse(security.check_threat_intelligence("192.168.1.1"))
        security.add_ioc("ip", "192.168.1.1", "internal", 80)
        result = security.check_threat_intelligence("192.168.1.1")
        self.assertTrue(result)
        self.assertEqual((result["type"], result["found"], result["confidence"]), ("ip", True, 80))

    def test_create_a_threat_rule(self) -> None:
        rule = security.create_threat_rule(
            name="Suspicious IP",
            description="Detects access from suspicious IP addresses",
            detection={"ioc": {"type": "ip", "value": "192.168.0.0/16"}},
            severity="medium",
        )
        stored = json.loads((self.data_dir / "threat_rules" / rule["file"]).read_text("utf-8"))
        self.assertEqual(stored["name"], "Suspicious IP")
        alerts = security.threat_detector.analyze({"source": "192.168.7.9"})
        self.assertEqual([alert["rule_id"] for alert in alerts], [rule["id"]])
        self.assertEqual(alerts[0]["score"], 40)
        self.assertEqual(security.threat_detector.analyze({"source": "198.51.100.1"}), [])

    def test_flask(self) -> None:
        app = Flask(__name__)
        security.create_security_middleware(app)

        @app.route("/api/protected")
        @security.require_api_key
        def protected_route() -> dict[str, str]:
            return {"status": "success"}

        client = app.test_client()
        self.assertEqual(client.get("/api/protected").status_code, 401)
        answer = client.get("/api/protected", headers={"X-API-Key": VALUES["API_KEY"]})
        self.assertEqual((answer.status_code, answer.json), (200, {"status": "success"}))

    def test_every_credential_of_the_configuration(self) -> None:
        self.assertTrue(security.verify_secret_token(VALUES["SECRET_TOKEN"]))
        self.assertTrue(security.verify_mail_api_key(VALUES["MAIL_API_KEY"]))
        self.assertTrue(security.verify_logging_api_key(VALUES["LOGGING_API_KEY"]))

    def test_best_practices_are_real(self) -> None:
        new = security.rotate_credential("api_key")
        self.assertFalse(security.verify_api_key(VALUES["API_KEY"]))
        self.assertTrue(security.verify_api_key(new))
        for guess in range(30):
            security.verify_db_password(f"guess {guess}", client_ip="198.51.100.7")
        security.flush()
        usage = security.get_recent_usage(limit=32)
        self.assertEqual(usage[0]["ip_address"], "198.51.100.7")
        self.assertEqual([record["success"] for record in usage[-2:]], [True, False])
        findings = security.analyze_for_suspicious_activity()
        self.assertIn("DB_PASSWORD", [finding["credential_type"] for finding in findings])

    def test_the_modules_of_the_architecture(self) -> None:
        import security.modules.credentials
        import security.modules.intel
        import security.modules.middleware
        import security.modules.taxii
        import security.modules.threat
        import security.modules.utils

        self.assertIs(security.modules.credentials.verify_api_key, security.verify_api_key)

    def test_this_is_how_the_tests_run(self) -> None:
        # The document's own command, on the smallest module, so that it does not run itself.
        command = [sys.executable, "-m", "unittest", "discover", "-s", "tests", "-p", "test_answers.py"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("OK", done.stderr)


if __name__ == "__main__":
    unittest.main()
