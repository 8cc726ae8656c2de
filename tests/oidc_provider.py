"""A real OpenID Connect provider on a loopback port. What it is sent is kept, and its answers can be changed on their way."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import requests
import werkzeug.serving
from oidc_provider_mock import app
from werkzeug.wrappers import Request, Response

ALICE = {"preferred_username": "alice", "name": "Alice Example", "email": "alice@example.org", "groups": ["staff", "developers"]}


class Provider:
    """Attributes: token_requests: the forms that were sent for a code. tamper: changes the JSON of a path's answer."""

    def __init__(self, lifetime: timedelta = timedelta(hours=1)) -> None:
        self.token_requests: list[dict[str, str]] = []
        self.tamper: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {}
        self._app = app(require_nonce=True, access_token_max_age=lifetime)
        self._server = werkzeug.serving.make_server("localhost", 0, self._serve, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self._server.server_port}"

    def _serve(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        if request.path == "/oauth2/token":
            environ["wsgi.input"] = io.BytesIO(request.get_data())  # read once here, once more by the provider
            self.token_requests.append(dict(parse_qsl(request.get_data(as_text=True))))
        answer = Response.from_app(self._app, environ)
        if change := self.tamper.get(request.path):
            answer.set_data(json.dumps(change(json.loads(answer.get_data()))))
        return answer(environ, start_response)

    def set_user(self, sub: str, **claims: Any) -> None:
        requests.put(f"{self.issuer}/users/{sub}", json=claims, timeout=5).raise_for_status()

    def agree(self, url: str, sub: str) -> str:
        """What a person does on the provider's page; returns the path by which the browser comes back."""
        answer = requests.post(url, data={"sub": sub}, allow_redirects=False, timeout=5)
        parts = urlsplit(answer.headers["Location"])
        return f"{parts.path}?{parts.query}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()


def asked(url: str) -> dict[str, str]:
    """The parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


@contextmanager
def running(**options: Any) -> Iterator[Provider]:
    provider = Provider(**options)
    try:
        yield provider
    finally:
        provider.stop()
