"""Sign-in with a password kept by Vireo."""

from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.http import HttpRequest

from accounts.models import User


class LocalBackend(BaseBackend):
    def authenticate(self, request: HttpRequest | None, username: str = "", password: str = "", **kwargs: Any) -> User | None:  # nosec B107 # empty fits nobody
        try:
            user = User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            # Hashing anyway takes the same time, so the answer does not tell which names exist.
            User().set_password(password)
            return None
        fits = user.check_password(password)
        return user if fits and user.is_active and not user.is_service else None

    def get_user(self, user_id: Any) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()
