"""Where the configuration comes from, what wins, and that secrets are masked."""

from __future__ import annotations

import json
import os
import unittest
from typing import ClassVar

import security
from engine_case import CREDENTIALS, VALUES, EngineCase

FILE = """
[credentials]
API_KEY = "api key from the file"
DB_PASSWORD = "password from the file"

[policies.API_KEY]
rotate_every_days = 7
warn_before_days = 2
length = 40
complexity = "very_high"

[web]
trusted_networks = ["192.0.2.0/24"]
"""


class Configuration(EngineCase):
    environment: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        super().setUp()
        self.file = self.folder / "security.toml"
        self.file.write_text(FILE, "utf-8")

    def test_nothing_is_set(self) -> None:
        self.assertEqual([status["set_by"] for status in security.status()["credentials"].values()], [None] * 5)

    def test_the_environment(self) -> None:
        os.environ.update(VALUES)
        self.reopen()
        self.assertTrue(security.verify_api_key(VALUES["API_KEY"]))
        self.assertTrue(security.verify_db_password(VALUES["DB_PASSWORD"]))
        self.assertEqual(security.status()["credentials"]["API_KEY"]["set_by"], "environment API_KEY")

    def test_mounted_secrets(self) -> None:
        for name in CREDENTIALS:
            mounted = self.folder / f"{name}.secret"
            mounted.write_text(VALUES[name] + "\n", "utf-8")
            os.environ[f"{name}_FILE"] = str(mounted)
        self.reopen()
        self.assertTrue(security.verify_secret_token(VALUES["SECRET_TOKEN"]))
        self.assertFalse(security.verify_secret_token(VALUES["SECRET_TOKEN"] + "\n"))
        self.assertIn("SECRET_TOKEN.secret", security.status()["credentials"]["SECRET_TOKEN"]["set_by"])

    def test_mounted_secrets_that_are_not_there(self) -> None:
        for content, words in ((None, "API_KEY_FILE"), ("", "empty"), ("\n", "empty")):
            mounted = self.folder / "mounted"
            mounted.unlink(missing_ok=True)
            if content is not None:
                mounted.write_text(content, "utf-8")
            os.environ["API_KEY_FILE"] = str(mounted)
            with self.assertRaisesRegex(security.ConfigurationError, words):
                self.reopen()
        os.environ.pop("API_KEY_FILE")
        os.environ["API_KEY"], os.environ["API_KEY_FILE"] = "x", "y"
        with self.assertRaisesRegex(security.ConfigurationError, "both set"):
            self.reopen()

    def test_the_file(self) -> None:
        for config in (self.file, str(self.file)):
            self.reopen(config=config)
            self.assertTrue(security.verify_api_key("api key from the file"))
            self.assertEqual(security.init_credential_metadata()["API_KEY"]["rotate_every_days"], 7)
            self.assertTrue(security.is_ip_trusted("192.0.2.1"))
        self.assertEqual(len(security.rotate_credential("API_KEY")), 40)

    def test_the_file_by_the_environment(self) -> None:
        os.environ["SECURITY_CONFIG"] = str(self.file)
        self.reopen()
        self.assertTrue(security.verify_api_key("api key from the file"))

    def test_the_file_in_the_working_directory(self) -> None:
        code = "import security; print(security.verify_api_key('api key from the file'))"
        self.assertEqual(self.run_python(code), "True\n")

    def test_content_as_an_argument(self) -> None:
        self.reopen(config={"credentials": {"API_KEY": "by argument"}})
        self.assertTrue(security.verify_api_key("by argument"))

    def test_precedence(self) -> None:
        os.environ["API_KEY"] = "from the environment"
        os.environ["SECURITY_DATA_DIR"] = str(self.folder / "from-the-environment")
        self.file.write_text(f'data_dir = "{self.folder / "from-the-file"}"\n{FILE}', "utf-8")
        self.reopen(config=self.file)
        self.assertEqual(security.status()["data_dir"], str(self.data_dir), "the argument first")
        self.assertTrue(security.verify_api_key("from the environment"), "then the environment")
        self.assertFalse(security.verify_api_key("api key from the file"))
        self.assertTrue(security.verify_db_password("password from the file"), "then the file")
        security.close()
        security.initialize(config=self.file)
        self.assertTrue(security.status()["data_dir"].endswith("from-the-environment"))
        security.close()
        os.environ.pop("SECURITY_DATA_DIR")
        security.initialize(config=self.file)
        self.assertTrue(security.status()["data_dir"].endswith("from-the-file"))

    def test_typing_errors_are_not_settings(self) -> None:
        for text in ("[credential]\nx = 1\n", "[web]\ntrusted = []\n", "[policies.DOOR_KEY]\n", "not toml ["):
            self.file.write_text(text, "utf-8")
            with self.assertRaises(security.ConfigurationError) as raised:
                self.reopen(config=self.file)
            self.assertIn("security.toml", str(raised.exception))
            self.assertEqual(raised.exception.code, "configuration")
        with self.assertRaisesRegex(security.ConfigurationError, "absent"):
            self.reopen(config=self.folder / "absent.toml")
        with self.assertRaisesRegex(ValueError, "config"):
            self.reopen(config={"colour": "red"})

    def test_no_secret_in_messages(self) -> None:
        self.file.write_text('[credentials]\nAPI_KEY = ["hunter2hunter2"]\n', "utf-8")
        with self.assertRaises(security.ConfigurationError) as raised:
            self.reopen(config=self.file)
        self.assertNotIn("hunter2", str(raised.exception))
        with self.assertRaises(ValueError) as invalid:
            self.reopen(config={"credentials": {"API_KEY": ["hunter2hunter2"]}})
        self.assertNotIn("hunter2", str(invalid.exception))

    def test_secrets_are_masked_in_what_is_shown(self) -> None:
        os.environ.update(VALUES)
        os.environ["TAXII_PASSWORD"] = "taxii password for tests"
        self.reopen()
        shown = json.dumps(security.status())
        for secret in (*VALUES.values(), "taxii password for tests"):
            self.assertNotIn(secret, shown)

    def test_the_command_shows_where_values_come_from(self) -> None:
        code = (
            "import runpy, sys\n"
            "sys.argv = ['security', 'config', 'show']\n"
            "runpy.run_module('security', run_name='__main__')"
        )
        shown = self.run_python(code, **VALUES)
        self.assertIn("environment API_KEY", shown)
        self.assertIn("****", shown)
        for secret in VALUES.values():
            self.assertNotIn(secret, shown)


if __name__ == "__main__":
    unittest.main()
