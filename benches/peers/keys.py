"""What the peers take to verify an API key, in an environment of their own: one line a peer, name, microseconds, what.

A thousand keys with a scope each, presented in turn; CPU time of this process, the median of the rounds. Every peer is
used as its own documentation shows it, on the fastest store that it ships.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = 1000
ROUNDS = 5


def median_of(run: Callable[[], int]) -> float:
    """CPU microseconds for one of the calls that `run` makes and counts."""
    run()
    figures = []
    for _ in range(ROUNDS):
        before = time.process_time()
        calls = run()
        figures.append((time.process_time() - before) * 1e6 / calls)
    return statistics.median(figures)


def rest_framework() -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["rest_framework", "rest_framework_api_key"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    call_command("migrate", verbosity=0)
    from rest_framework_api_key.models import APIKey

    keys = [APIKey.objects.create_key(name=f"key {number}")[1] for number in range(KEYS)]

    def run() -> int:
        for key in keys:
            if not APIKey.objects.is_valid(key):
                raise SystemExit("a good key was refused")
        return len(keys)

    print(
        f"djangorestframework-api-key\t{median_of(run):.1f}\tSQLite in memory, no log, no scopes, no limit", flush=True
    )


def keyshield() -> None:
    from keyshield.hasher.argon2 import Argon2ApiKeyHasher
    from keyshield.repositories.in_memory import InMemoryApiKeyRepository
    from keyshield.services.base import ApiKeyService
    from keyshield.services.cached import CachedApiKeyService

    hasher = Argon2ApiKeyHasher(pepper="a pepper for the benchmark, nobody's secret")
    runner = asyncio.new_event_loop()
    repository = InMemoryApiKeyRepository()

    def run_over(service: ApiKeyService, keys: list[str]) -> Callable[[], int]:
        async def loop() -> int:
            for key in keys:
                await service.verify_key(key, required_scopes=["read"])
            return len(keys)

        return lambda: runner.run_until_complete(loop())

    # It sleeps 0.1 to 0.3 seconds at every answer unless told not to.
    plain = ApiKeyService(repo=repository, hasher=hasher, min_delay=0, max_delay=0)
    # An Argon2 hash a key: a few are enough for a mean.
    keys = [runner.run_until_complete(plain.create(name=f"key {n}", scopes=["read"]))[1] for n in range(10)]
    cached = CachedApiKeyService(repo=repository, hasher=hasher, min_delay=0, max_delay=0)
    for name, service, presented in (("cached", cached, keys * 100), ("uncached", plain, keys[:3])):
        figure = median_of(run_over(service, presented))
        print(
            f"keyshield, {name}\t{figure:.1f}\tin memory, {len(keys)} keys, last use recorded, no limit, its delay off",
            flush=True,
        )
    runner.close()


if __name__ == "__main__":
    rest_framework()
    keyshield()
