"""What services refuse with. Pages and the API turn each into its status code; no other exception is expected of them."""

from django.core.exceptions import ValidationError


class NotPossible(Exception):
    """The object cannot do this now (409). The text is for the person who asked."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FieldError(ValidationError):
    """One field of the request is wrong (422); shown beside that field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__({field: [message]})
        self.field = field
        self.text = message
