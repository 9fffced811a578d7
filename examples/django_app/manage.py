"""The orders API on Django, behind the engine: settings, views and command line on one page.

From this folder, with the `security` command and Django at hand:

    KEY=$(security key issue shop --scope orders:read --scope orders:write)
    python manage.py runserver &
    curl -i localhost:8000/api/orders                      # 401
    curl -i -H "X-API-Key: $KEY" localhost:8000/api/orders # 200

In production: gunicorn manage:application
"""

from __future__ import annotations

import json
import sys
from typing import Any

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.management.utils import get_random_secret_key
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path
from security.adapters.django import require_api_key

settings.configure(
    ALLOWED_HOSTS=["localhost", "127.0.0.1"],
    # The first of all: it judges every request before any other code, and sees every answer.
    MIDDLEWARE=["security.adapters.django.SecurityMiddleware"],
    ROOT_URLCONF=__name__,
    # Nothing here is signed or kept; an application that does either keeps its key.
    SECRET_KEY=get_random_secret_key(),
)

ORDERS: list[dict[str, Any]] = [
    {"id": 1, "item": "teapot", "quantity": 2},
    {"id": 2, "item": "kettle", "quantity": 1},
]


def health(_request: HttpRequest) -> JsonResponse:
    """An exempt path: nothing is asked."""
    return JsonResponse({"status": "ok"})


def orders(request: HttpRequest) -> JsonResponse:
    """Reading and writing ask for different scopes."""
    return order(request) if request.method == "POST" else list_orders(request)


@require_api_key
def list_orders(request: Any) -> JsonResponse:
    """Any valid key will do."""
    return JsonResponse({"orders": ORDERS, "key": request.security.api_key["name"]})


@require_api_key(scopes=["orders:write"])
def order(request: HttpRequest) -> JsonResponse:
    """Only for keys with the scope."""
    wanted = json.loads(request.body)
    return JsonResponse({"status": "accepted", "item": wanted["item"]}, status=201)


def admin(request: Any) -> JsonResponse:
    """A sensitive path: only for trusted networks, loopback and private ones by default."""
    return JsonResponse({"welcome": request.security.client_ip or "unknown"})


urlpatterns = [path("health", health), path("api/orders", orders), path("admin", admin)]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
