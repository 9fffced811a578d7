"""The worked example of a rotation, against a real PostgreSQL."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import psycopg
import security
from engine_case import ROOT, EngineCase, clean_environment
from postgres import Postgres

sys.path.append(str(ROOT / "examples"))

import postgres_rotation
from postgres_rotation import TwoRoles, connect, login


class Rotation(EngineCase):
    server: ClassVar[Postgres]
    environment: ClassVar[dict[str, str]] = {"SECURITY_MASTER_KEY": "5d" * 32}

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = Postgres()
        cls.addClassCleanup(cls.server.stop)

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(security.on_rotate, "db_password", create=None)
        self.roles = TwoRoles(self.server.admin)
        self.roles.register(grace_seconds=1)
        self.addCleanup(self.drop_roles)
        self.roles.prepare()

    def drop_roles(self) -> None:
        with psycopg.connect(self.server.admin, autocommit=True) as connection:
            connection.execute("DROP ROLE app_a, app_b, app")

    def who(self, role: str | None, password: str) -> str | None:
        """Whom the server takes a login for; None where it refuses it."""
        try:
            with psycopg.connect(self.server.database, user=role, password=password) as connection:
                row = connection.execute("SELECT current_user").fetchone()
        except psycopg.OperationalError as error:
            self.assertRegex(str(error), "password authentication failed|not permitted to log in")
            return None
        assert row is not None
        return str(row[0])

    def test_the_new_login_works_and_the_old_role_is_refused_after_the_grace(self) -> None:
        before, old = login()
        self.assertEqual(self.who(before, old), "app_a")
        session = connect(self.server.database)
        self.addCleanup(session.close)
        new = security.rotate_credential("db_password", grace_seconds=1)
        self.assertEqual(login(), ("app_b", new))
        self.assertEqual(self.who("app_b", new), "app_b")
        self.assertEqual(self.who(before, old), "app_a", "in its grace")
        self.assertEqual(session.execute("SELECT 1").fetchone(), (1,))
        self.assertTrue(security.verify_db_password(new))
        time.sleep(1.1)
        security.schedule_credential_rotation()
        self.assertIsNone(self.who(before, old))
        self.assertFalse(security.verify_db_password(old))
        with self.assertRaises(psycopg.OperationalError):
            session.execute("SELECT 1")
        self.assertEqual(self.who(*login()), "app_b")
        # And back again: the first role, with another password.
        again = security.rotate_credential("db_password")
        self.assertEqual(login(), ("app_a", again))
        self.assertEqual(self.who("app_a", again), "app_a")
        self.assertIsNone(self.who("app_a", old))
        self.assertIsNone(self.who("app_b", new), "without grace at once")

    def test_where_the_new_password_cannot_be_set_the_old_one_works(self) -> None:
        before = login()
        TwoRoles(self.server.admin + "wrong").register()
        with self.assertRaisesRegex(security.SecurityError, "failed at create: OperationalError"):
            security.rotate_credential("db_password")
        self.assert_untouched(before)

    def test_where_the_new_login_does_not_work_the_old_one_does(self) -> None:
        before = login()
        with psycopg.connect(self.server.admin, autocommit=True) as connection:
            connection.execute("ALTER ROLE app_b CONNECTION LIMIT 0")
        with self.assertRaisesRegex(security.SecurityError, "failed at test: OperationalError"):
            security.rotate_credential("db_password")
        self.assert_untouched(before)
        with psycopg.connect(self.server.admin, autocommit=True) as connection:
            connection.execute("ALTER ROLE app_b CONNECTION LIMIT -1")
        security.rotate_credential("db_password")
        self.assertEqual(self.who(*login()), "app_b", "mended, and rotated")

    def assert_untouched(self, before: tuple[str | None, str]) -> None:
        self.assertEqual(login(), before)
        self.assertEqual(self.who(*before), "app_a")
        self.assertTrue(security.verify_db_password(before[1]))
        self.assertTrue(security.verify_audit_log()["intact"])

    def test_a_process_killed_in_the_midst_of_it_leaves_a_login_that_works(self) -> None:
        for step, role in (("create", "app_a"), ("test", "app_a"), ("switch", "app_b")):
            with self.subTest(step):
                killed = f"""
import os, signal, sys
import security
from postgres_rotation import TwoRoles
roles = TwoRoles(sys.argv[1])
done = roles.{step}
def cut_off(new):
    done(new)
    os.kill(os.getpid(), signal.SIGKILL)
roles.{step} = cut_off
roles.register()
security.rotate_credential("db_password")
"""
                code = subprocess.run(
                    [sys.executable, "-c", killed, self.server.admin],
                    env=clean_environment(
                        **self.environment,
                        SECURITY_DATA_DIR=str(self.data_dir),
                        PYTHONPATH=str(ROOT / "examples"),
                    ),
                    check=False,
                    timeout=120,
                ).returncode
                self.assertEqual(code, -9)
                self.assertEqual(self.who(*login()), role)
                self.assertTrue(security.verify_db_password(login()[1]))
                new = security.rotate_credential("db_password")
                self.assertEqual((self.who(*login()), login()[1]), (login()[0], new))
                while login()[0] != "app_a":
                    security.rotate_credential("db_password")

    def test_no_password_is_in_the_servers_log_or_in_ours(self) -> None:
        made = [login()[1], security.rotate_credential("db_password"), security.rotate_credential("db_password")]
        security.flush()
        files = [self.server.log, *(path for path in self.data_dir.rglob("*") if path.is_file())]
        self.assertGreater(len(files), 5)
        self.assertIn("ALTER ROLE", self.server.log.read_text("utf-8"))
        for path in files:
            for password in made:
                self.assertNotIn(password.encode(), path.read_bytes(), path)

    def test_from_the_command_line(self) -> None:
        script = Path(postgres_rotation.__file__)

        def run(*arguments: str, admin: str = self.server.admin) -> subprocess.CompletedProcess[str]:
            environment = clean_environment(
                **self.environment, SECURITY_DATA_DIR=str(self.data_dir), DATABASE_ADMIN=admin
            )
            command = [sys.executable, str(script), *arguments]
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=120, cwd=self.folder
            )

        self.assertEqual(run("show").stdout, "app_a\n")
        rotated = run("rotate", "--grace", "0")
        self.assertEqual((rotated.stdout, rotated.returncode), ("app_b\n", 0), rotated.stderr)
        self.assertEqual(self.who(*login()), "app_b")
        failed = run("rotate", admin=self.server.admin + "wrong")
        self.assertEqual((failed.stdout, failed.returncode), ("", 1))
        self.assertRegex(failed.stderr, r"failed at create: OperationalError .*\nthe application goes on as app_b\n$")
        self.assertEqual(run("tick").stdout, "app_b\n")
