"""Every public name is documented, typed and in the user's page."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import types
import unittest
from pathlib import Path

import security
import security.modules

PACKAGE = Path(security.__file__).parent
PAGE = (PACKAGE / "README.md").read_text("utf-8")
TYPES = re.compile(r"``(str|bool|int|float|bytes|dict|list|datetime|timedelta|None)``|:class:`")

# What cannot fail.
PURE = ("generate_request_id", "is_ip_trusted")


def public() -> list[tuple[str, object]]:
    return [(name, getattr(security, name)) for name in security.__all__ if name not in ("__version__", "modules")]


class Reference(unittest.TestCase):
    def test_all_is_complete_and_exists(self) -> None:
        self.assertEqual(len(security.__all__), len(set(security.__all__)))
        visible = {
            name
            for name, value in vars(security).items()
            if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
        }
        self.assertEqual(visible - set(security.__all__), set())

    def test_the_documents_and_the_applications_names(self) -> None:
        expected = [
            "initialize",
            "verify_api_key",
            "verify_db_password",
            "log_credential_usage",
            "add_ioc",
            "check_ioc",
            "search_intelligence",
            "extract_iocs",
            "check_threat_intelligence",
            "create_threat_rule",
            "create_security_middleware",
            "require_api_key",
            "rotate_credential",
            "get_recent_usage",
            "analyze_for_suspicious_activity",
            "generate_request_id",
            "mask_credential",
            "generate_secure_credential",
            "dispose_sensitive_data",
            "verify_mail_api_key",
            "verify_logging_api_key",
            "verify_secret_token",
            "validate_credential",
            "check_credential_expiration",
            "init_credential_metadata",
            "schedule_credential_rotation",
            "categorize_intelligence",
            "retrieve_intelligence",
            "correlate_threats",
            "generate_threat_report",
            "generate_compliance_report",
            "TAXIIClient",
            "create_taxii_config",
            "list_taxii_configs",
            "connect_to_taxii_server",
            "get_taxii_collection",
            "import_stix_indicators",
            "export_iocs_to_stix",
            "ThreatDetector",
            "identify_ioc_type",
            "detect_threats",
            "threat_detector",
            "is_ip_trusted",
            "STIX_AVAILABLE",
            "flush",
            "close",
            "status",
            "issue_api_key",
            "check_api_key",
            "revoke_api_key",
            "rotate_api_key",
            "list_api_keys",
            "get_audit_log",
            "verify_audit_log",
            "check_iocs",
            "scan_text",
            "load_warninglist",
            "import_indicators",
            "export_indicators",
            "defang",
            "refang",
            "test_rule",
            "inspect_request",
            "ban_client",
            "lift_ban",
            "list_bans",
        ]
        self.assertEqual(set(expected) - set(security.__all__), set())

    def test_the_same_object_in_its_module(self) -> None:
        names: set[str] = set()
        for found in pkgutil.iter_modules(security.modules.__path__):
            module = importlib.import_module(f"security.modules.{found.name}")
            self.assertTrue(module.__doc__)
            for name in module.__all__:
                self.assertIs(getattr(module, name), getattr(security, name), name)
                names.add(name)
        functions = {name for name, value in public() if inspect.isroutine(value)}
        self.assertEqual(functions - names, set())

    def test_every_function_says_what_it_takes_gives_and_raises(self) -> None:
        classes = [security.ThreatDetector, security.TAXIIClient]
        documented = [(name, value) for name, value in public() if inspect.isroutine(value)]
        for cls in classes:
            documented += [
                (f"{cls.__name__}.{name}", value)
                for name, value in vars(cls).items()
                if not name.startswith("_") and callable(value)
            ]
        self.assertGreater(len(documented), 55)
        for name, function in documented:
            with self.subTest(name):
                text = inspect.getdoc(function) or ""
                parameters = [
                    parameter
                    for parameter in inspect.signature(function).parameters.values()
                    if parameter.name not in ("self",)
                ]
                for parameter in parameters:
                    self.assertIn(f":param {parameter.name}:", text)
                self.assertEqual(text.count(":param "), len(parameters), "documents what it does not take")
                if name not in ("flush", "close", "initialize"):
                    self.assertIn(":returns:", text)
                    self.assertRegex(text, TYPES, "names no type")
                if name not in PURE:
                    self.assertIn(":raises ", text)

    def test_every_class_is_documented(self) -> None:
        for name, value in public():
            if inspect.isclass(value):
                self.assertTrue(inspect.getdoc(value), name)

    def test_every_name_is_in_the_users_page(self) -> None:
        _, _, reference = PAGE.partition("## Reference")
        for name, _value in public():
            with self.subTest(name):
                self.assertIn(f"`{name}", reference)

    def test_every_compiled_name_has_a_stub(self) -> None:
        from security import _security

        stub = ast.parse((PACKAGE / "_security.pyi").read_text("utf-8"))
        stubbed = {node.name for node in stub.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        stubbed |= {
            node.target.id
            for node in stub.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        compiled = {name for name in dir(_security) if not name.startswith("__")} | {"__version__"}
        self.assertEqual(compiled - stubbed, set())
        self.assertTrue((PACKAGE / "py.typed").exists())

    def test_versions_agree(self) -> None:
        from importlib import metadata

        self.assertEqual(metadata.version("security-engine"), security.__version__)
        extras = {"django>=4.2": "django", "fastapi>=0.110": "fastapi", "flask>=2.3": "flask"}
        required = [f"{needed} ; extra == '{extra}'" for needed, extra in extras.items()]
        self.assertEqual(sorted(metadata.requires("security-engine") or ()), required)


if __name__ == "__main__":
    unittest.main()
