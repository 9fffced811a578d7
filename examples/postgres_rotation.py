"""A database password that is really set in PostgreSQL before the old one ends: two login roles take turns.

PostgreSQL keeps one password a role, so a role whose password changes breaks every connection that is made with the old
one. Two roles with the same rights solve that: the idle one gets the new password, is tried, and becomes the one that
the application logs in as; the other one goes on until the grace is over, and is then refused.

    export DATABASE_ADMIN='host=127.0.0.1 dbname=shop user=rotation password=...'
    python examples/postgres_rotation.py prepare          # once: the two roles, and a first password
    python examples/postgres_rotation.py rotate --grace 3600
    python examples/postgres_rotation.py tick             # from a timer: rotates what is due, retires what is over
    python examples/postgres_rotation.py show             # which role the application logs in as

What the application logs in with lies in the secret store as ``db/login``; it calls :func:`connect` for a connection.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

import psycopg
import security
from psycopg import sql

LOGIN = "db/login"


class TwoRoles:
    """The steps of a rotation. Each reads anew where things stand, for the process before may have ended anywhere."""

    def __init__(self, admin: str, roles: tuple[str, str] = ("app_a", "app_b")) -> None:
        """Takes the conninfo of a role that may alter the two, and end their sessions (``pg_signal_backend``)."""
        self.admin = admin
        self.roles = roles

    def register(self, grace_seconds: float = 3600) -> None:
        """From here on ``rotate_credential("db_password")`` of this process goes through PostgreSQL."""
        security.on_rotate(
            "db_password",
            create=self.create,
            test=self.test,
            switch=self.switch,
            retire=self.retire,
            grace_seconds=grace_seconds,
        )

    def prepare(self, group: str = "app") -> None:
        """Makes the two roles, members of the group that owns the tables, and a first password for one of them."""
        with psycopg.connect(self.admin, autocommit=True) as connection:
            names = {"group": sql.Identifier(group), "a": sql.Identifier(self.roles[0])}
            names["b"] = sql.Identifier(self.roles[1])
            connection.execute(sql.SQL("CREATE ROLE {group} NOLOGIN").format(**names))
            connection.execute(sql.SQL("CREATE ROLE {a} NOLOGIN IN ROLE {group}").format(**names))
            connection.execute(sql.SQL("CREATE ROLE {b} NOLOGIN IN ROLE {group}").format(**names))
        # The first rotation sets the password; no old one has to go on.
        security.rotate_credential("db_password")

    def create(self, new: security.Secret) -> None:
        """Gives the idle role the new password; the other one is not touched."""
        role = self.idle()
        with psycopg.connect(self.admin, autocommit=True) as connection:
            # What is sent, and may be logged there, is a salted verifier and not the password.
            verifier = connection.pgconn.encrypt_password(new.reveal_bytes(), role.encode(), b"scram-sha-256")
            command = sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}")
            connection.execute(command.format(sql.Identifier(role), sql.Literal(verifier.decode())))

    def test(self, new: security.Secret) -> bool:
        """Logs in as the idle role with the new password."""
        role = self.idle()
        with psycopg.connect(self.admin, user=role, password=new.reveal()) as connection:
            return connection.execute("SELECT current_user").fetchone() == (role,)

    def switch(self, new: security.Secret) -> None:
        """New connections of the application use the new login from here on."""
        security.store_secret(LOGIN, json.dumps({"role": self.idle(), "password": new.reveal()}))

    def retire(self) -> None:
        """Refuses the role that is not in use any more, and ends the sessions that it still has."""
        role = self.idle()
        with psycopg.connect(self.admin, autocommit=True) as connection:
            connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN PASSWORD NULL").format(sql.Identifier(role)))
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))

    def idle(self) -> str:
        """The role that the application does not log in as."""
        first, second = self.roles
        return second if login()[0] == first else first


def login() -> tuple[str | None, str]:
    """The role and the password that the application logs in with; no role before the first rotation."""
    try:
        stored = json.loads(security.read_secret(LOGIN).reveal())
    except security.NotFoundError:
        return None, ""
    return stored["role"], stored["password"]


def connect(database: str) -> psycopg.Connection[tuple[object, ...]]:
    """A connection of the application: to a conninfo without user and password, with the login of the moment."""
    role, password = login()
    return psycopg.connect(database, user=role, password=password)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("verb", choices=("prepare", "rotate", "tick", "show"))
    parser.add_argument("--grace", type=float, default=3600, help="seconds that the old login goes on")
    given = parser.parse_args(arguments)
    roles = TwoRoles(os.environ["DATABASE_ADMIN"])
    roles.register(given.grace)
    try:
        if given.verb == "prepare":
            roles.prepare()
        elif given.verb == "rotate":
            security.rotate_credential("db_password", grace_seconds=given.grace)
        elif given.verb == "tick":
            security.schedule_credential_rotation()
    except security.SecurityError as error:
        print(f"{error}\nthe application goes on as {login()[0]}", file=sys.stderr)
        return 1
    print(login()[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
