"""Settings, by the environment: ``SHOP_URL`` is the real database, ``SHOP_OPTIONS`` what is added to its entry."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from tests.django_host import settings_of, stand_in

stand_in()
if os.environ.get("SHOP_PSYCOPG2"):  # Django takes the older driver where there is no newer one
    sys.modules["psycopg"] = None  # type: ignore[assignment]
DATABASES: dict[str, Any] = {
    "default": settings_of(os.environ["SHOP_URL"]) | json.loads(os.environ.get("SHOP_OPTIONS", "{}"))
}
if other := os.environ.get("SHOP_OTHER_URL"):
    DATABASES["other"] = settings_of(other)
    DATABASE_ROUTERS = ["shop.routers.ChatsElsewhere"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "chatstore.contrib.django",
    "shop",
]
if key := os.environ.get("SHOP_KEY"):
    INSTALLED_APPS.append(f"shop.{key}")
    AUTH_USER_MODEL = f"{key}.Customer"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "chatstore.contrib.django.ProblemMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
ROOT_URLCONF = "shop.urls"
SECRET_KEY = "for tests"
STATIC_URL = "static/"
USE_TZ = True
