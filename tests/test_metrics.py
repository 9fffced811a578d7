"""Metrics in Prometheus's text: off unless asked for, for trusted networks alone, of all processes of the host."""

from __future__ import annotations

import json
import re
import unittest
from typing import Any

import security
from engine_case import VALUES
from test_adapter_parity import Given, ParityCase, key
from test_request_bodies import ATTACK, Sent, post_wsgi, wsgi_app

INSIDE = "10.0.0.5"
LINE = re.compile(r'^[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9][0-9.e+-]*$')


class Metrics(ParityCase):
    def read(self, text: str) -> dict[str, float]:
        values: dict[str, float] = {}
        for line in text.splitlines():
            if not line.startswith("#"):
                self.assertRegex(line, LINE)
                name, _, value = line.rpartition(" ")
                values[name] = float(value)
        return values

    def decisions(self, text: str, stage: str, action: str, reason: str) -> float:
        name = f'security_web_decisions_total{{stage="{stage}",action="{action}",reason="{reason}"}}'
        return self.read(text).get(name, 0)

    def test_every_bridge_answers_with_the_counts_of_the_host(self) -> None:
        scrape = Given(path=b"/internal/metrics", ip=INSIDE)
        for bridge, ask in self.bridges().items():
            self.begin_again(metrics={"path": "/internal/metrics"})
            with self.subTest(bridge):
                before = ask(scrape)
                self.assertEqual(before.status, 200)
                self.assertEqual(before.header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8")
                self.assertEqual(before.header("Cache-Control"), "no-store")
                for given in (
                    Given(),
                    Given(),
                    Given(path=b"/admin/panel"),
                    Given(path=b"/bare"),
                    Given(query=b"q=%3Cscript%3Ealert(1)%3C/script%3E"),
                    Given(path=b"/bare", headers=key("wrong"), ip="198.51.100.7"),
                ):
                    ask(given)
                after = ask(scrape)
                for stage, action, reason, count in (
                    # Three of them had no key or a wrong one, which is the view's to ask for; and the scrape before.
                    ("request", "allow", "none", 5),
                    ("request", "deny", "forbidden-path", 1),
                    ("request", "deny", "payload", 1),
                    ("key", "deny", "credential-missing", 1),
                    ("key", "deny", "credential-invalid", 1),
                ):
                    grown = self.decisions(after.body.decode(), stage, action, reason) - self.decisions(
                        before.body.decode(), stage, action, reason
                    )
                    self.assertEqual(grown, count, (stage, reason))
                values = self.read(after.body.decode())
                judged = values["security_web_judgement_seconds_count"]
                self.assertEqual(values['security_web_judgement_seconds_bucket{le="+Inf"}'], judged)
                self.assertGreater(values["security_web_judgement_seconds_sum"], 0)
                self.assertIn("security_indicator_index_age_seconds", values)
                self.assertEqual(values["security_journal_lost_records"], 0)
                self.assertEqual(values["security_bans"], 0)

    def test_nobody_else_reads_them(self) -> None:
        self.begin_again(metrics={"path": "/internal/metrics"})
        for bridge, ask in self.bridges().items():
            with self.subTest(bridge):
                self.assertEqual(ask(Given(path=b"/internal/metrics")).status, 403)
                self.assertEqual(ask(Given(path=b"/internal/metrics", ip="")).status, 403)
                forwarded = ((b"X-Forwarded-For", b"10.0.0.5"),)
                self.assertEqual(ask(Given(path=b"/internal/metrics", headers=forwarded)).status, 403)
                self.assertEqual(ask(Given(path=b"/internal/metrics", headers=forwarded, ip=INSIDE)).status, 403)
                # Written otherwise it is the application's, which knows no such path.
                self.assertEqual(ask(Given(path=b"//internal/metrics", ip=INSIDE)).status, 404)
                self.assertEqual(ask(Given(method="HEAD", path=b"/internal/metrics", ip=INSIDE)).body, b"")

    def test_without_a_path_there_are_none(self) -> None:
        for bridge, ask in self.bridges().items():
            self.begin_again()
            with self.subTest(bridge):
                self.assertEqual(ask(Given(path=b"/metrics", ip=INSIDE)).status, 404)
                self.assertFalse((self.data_dir / ".shared" / "counters").exists(), "nothing is counted")

    def test_other_processes_count_too_and_bodies_are_told_apart(self) -> None:
        config: dict[str, Any] = {"web": {"metrics": {"path": "/m"}, "limits": {"client": "unlimited"}}}
        self.reopen(config=config)
        ask = self.bridges()["WSGI"]
        app = wsgi_app()
        self.assertEqual(post_wsgi(app, Sent(ATTACK))[0], 403)
        code = (
            "import security, json, sys\n"
            "security.initialize(config=json.loads(sys.argv[1]))\n"
            "for _ in range(5): security.inspect_request({'remote_addr': '198.51.100.1'})\n"
        )
        before = ask(Given(path=b"/m", ip=INSIDE)).body.decode()
        self.run_python(code, json.dumps(config), **VALUES)
        after = ask(Given(path=b"/m", ip=INSIDE)).body.decode()
        grown = self.decisions(after, "request", "allow", "none") - self.decisions(before, "request", "allow", "none")
        self.assertEqual(grown, 6)
        self.assertEqual(self.decisions(after, "body", "deny", "payload"), 1)

    def test_settings(self) -> None:
        for bad in ({"path": "/"}, {"path": "metrics"}, {"paths": "/m"}, {"path": ["/a", "/b"]}):
            with self.assertRaises(security.SecurityError):
                self.reopen(config={"web": {"metrics": bad}})


if __name__ == "__main__":
    unittest.main()
