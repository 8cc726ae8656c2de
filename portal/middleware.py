"""What no request of ours has in it."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse


class RefuseNul:
    """A NUL in an address is somebody's probe: no database of ours compares with one, and PostgreSQL fails on it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "%00" in request.META.get("QUERY_STRING", "") or "\0" in request.path:
            return HttpResponse("This address has a NUL character in it.", status=400, content_type="text/plain; charset=utf-8")
        return self.get_response(request)
