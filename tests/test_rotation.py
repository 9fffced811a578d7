"""Rotation in steps: ``on_rotate``."""

from __future__ import annotations

import threading
import traceback
from typing import Any

import security
from engine_case import VALUES, EngineCase


class Steps(EngineCase):
    def setUp(self) -> None:
        super().setUp()
        self.seen: list[str] = []
        self.made: list[security.Secret] = []
        self.addCleanup(security.on_rotate, "db_password", create=None)

    def create(self, new: security.Secret) -> None:
        self.seen.append("create")
        self.made.append(new)

    def step(self, name: str) -> Any:
        return lambda *_: self.seen.append(name)

    def old_is_in_force(self) -> bool:
        return security.verify_db_password(VALUES["DB_PASSWORD"])

    def test_from_the_first_step_to_the_last(self) -> None:
        security.on_rotate(
            "DB_PASSWORD",
            create=self.create,
            test=self.step("test"),
            switch=self.step("switch"),
            retire=self.step("retire"),
        )
        new = security.rotate_credential("db_password")
        self.assertEqual(self.seen, ["create", "test", "switch", "retire"])
        self.assertEqual(self.made, [new])
        self.assertIsInstance(self.made[0], security.Secret)
        self.assertEqual(repr(self.made[0]), "Secret(****)")
        self.assertTrue(security.verify_db_password(new))
        self.assertFalse(self.old_is_in_force())
        self.assertTrue(security.verify_audit_log()["intact"])

    def test_a_step_that_raises_leaves_the_old_value_in_force(self) -> None:
        def refuse(new: security.Secret) -> None:
            raise ConnectionError(f"the server does not take {new.reveal()}")

        cases: tuple[dict[str, Any], ...] = ({"create": refuse}, {"create": self.create, "test": refuse})
        for steps in cases:
            with self.subTest(steps=list(steps)):
                security.on_rotate("db_password", **steps)
                with self.assertRaises(security.SecurityError) as refused:
                    security.rotate_credential("db_password")
                error = refused.exception
                self.assertEqual(error.code, "rotation-failed")
                self.assertIsInstance(error.__cause__, ConnectionError)
                self.assertRegex(str(error), rf"^the rotation of DB_PASSWORD failed at {list(steps)[-1]}: ConnectionE")
                self.assertTrue(self.old_is_in_force())
                security.flush()
                value = str(error.__cause__).split()[-1]
                for path in self.data_dir.rglob("*"):
                    if path.is_file():
                        self.assertNotIn(value.encode(), path.read_bytes(), path)
        failed = security.get_audit_log(event="act_failed")
        self.assertEqual(len(failed), 2)
        self.assertEqual(failed[0]["details"]["error"], "the rotation of DB_PASSWORD failed at test: ConnectionError")

    def test_what_a_test_may_give(self) -> None:
        answers: list[Any] = []
        security.on_rotate("db_password", create=self.create, test=lambda _new: answers[-1])
        for passed in (None, True, 1, "yes"):
            answers.append(passed)
            self.assertTrue(security.verify_db_password(security.rotate_credential("db_password")))
        for failed in (False, 0, "", security.check_api_key("wrong")):
            answers.append(failed)
            with self.assertRaisesRegex(security.SecurityError, "at test: the test gave False"):
                security.rotate_credential("db_password")

    def test_an_interrupt_goes_on_as_itself(self) -> None:
        def interrupted(_new: security.Secret) -> None:
            raise KeyboardInterrupt

        security.on_rotate("db_password", create=interrupted)
        with self.assertRaises(KeyboardInterrupt):
            security.rotate_credential("db_password")
        self.assertTrue(self.old_is_in_force())

    def test_a_traceback_with_its_local_variables_shows_no_value(self) -> None:
        def refuse(new: security.Secret) -> None:
            self.made.append(new)
            raise ConnectionError("no route")

        security.on_rotate("db_password", create=refuse)
        try:
            security.rotate_credential("db_password")
        except security.SecurityError as error:
            shown = traceback.TracebackException.from_exception(error, capture_locals=True).format()
            self.assertNotIn(self.made[0].reveal(), "".join(shown))

    def test_a_step_may_call_the_library(self) -> None:
        def create(new: security.Secret) -> None:
            self.create(new)
            security.issue_api_key("from within")
            security.store_secret("db/login", new)
            with self.assertRaises(security.SecurityError) as told:
                security.rotate_credential("db_password")
            self.assertEqual(told.exception.code, "rotation-under-way")
            security.rotate_credential("mail_api_key")
            security.flush()

        security.on_rotate("db_password", create=create, test=lambda _new: self.old_is_in_force())
        with self.assertWarns(UserWarning):
            new = security.rotate_credential("db_password")
        self.assertEqual(security.read_secret("db/login"), new)

    def test_checks_go_on_while_a_step_does_not_come_back(self) -> None:
        entered, go_on = threading.Event(), threading.Event()

        def create(_new: security.Secret) -> None:
            entered.set()
            self.assertTrue(go_on.wait(60))

        key = security.issue_api_key("reader")["key"]
        security.on_rotate("db_password", create=create)
        made: list[str] = []
        thread = threading.Thread(target=lambda: made.append(security.rotate_credential("db_password")))
        thread.start()
        self.assertTrue(entered.wait(60))
        self.assertTrue(self.old_is_in_force())
        self.assertTrue(security.verify_api_key(key))
        with self.assertRaises(security.SecurityError) as told:
            security.rotate_credential("db_password")
        self.assertEqual(told.exception.code, "rotation-under-way")
        code = "import security; print(security.verify_db_password(__import__('sys').argv[1]))"
        self.assertEqual(self.run_python(code, VALUES["DB_PASSWORD"]).strip(), "True")
        go_on.set()
        thread.join()
        self.assertTrue(security.verify_db_password(made[0]))

    def test_taken_away(self) -> None:
        security.on_rotate("db_password", create=self.create)
        security.on_rotate("db_password", create=None)
        security.rotate_credential("db_password")
        self.assertEqual(self.seen, [])

    def test_they_stay_when_the_engine_is_opened_anew(self) -> None:
        security.on_rotate("db_password", create=self.create)
        self.reopen()
        security.rotate_credential("db_password")
        self.assertEqual(self.seen, ["create"])

    def test_bad_input(self) -> None:
        with self.assertRaisesRegex(ValueError, "credential_type: `password` is no credential type"):
            security.on_rotate("password", create=self.create)
        with self.assertRaisesRegex(TypeError, "argument 'create': a callable is needed, not str"):
            security.on_rotate("db_password", create="ALTER ROLE")  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "argument 'retire': a callable is needed, not int"):
            security.on_rotate("db_password", create=self.create, retire=3)  # type: ignore[arg-type]
        with self.assertRaisesRegex(TypeError, "argument 'create': a callable is needed beside"):
            security.on_rotate("db_password", create=None, test=self.create)
        for grace in (-1, 400 * 86_400):
            with self.assertRaisesRegex(ValueError, "grace_seconds"):
                security.on_rotate("db_password", create=self.create, grace_seconds=grace)
        with self.assertRaises(TypeError):
            security.on_rotate("db_password", self.create)  # type: ignore[call-arg]
        security.rotate_credential("db_password")
        self.assertEqual(self.seen, [], "nothing of that was kept")
