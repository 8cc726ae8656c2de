"""Who calls: a bearer token, or the browser's session with a CSRF token."""

from django.http import HttpRequest
from ninja.security import HttpBearer, SessionAuth

from accounts import tokens
from accounts.models import User


class TokenAuth(HttpBearer):
    def authenticate(self, request: HttpRequest, token: str) -> User | None:
        user = tokens.user_of(token)
        if user is not None:
            request.user = user
        return user


AUTH = [TokenAuth(), SessionAuth(csrf=True)]
