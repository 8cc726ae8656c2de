"""What a directory says about somebody, whatever kind of directory it is."""

from dataclasses import dataclass


class DirectoryProblem(Exception):
    """The directory could not be asked. The text is for whoever signs in, and holds no secret."""

    def __init__(self, text: str, cause: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.cause = cause  # for administrators: what the library or the server said


@dataclass(frozen=True)
class Person:
    """Args: external_id: stays the same when the name changes. groups: as the directory names them, nested ones included."""

    external_id: str
    username: str
    full_name: str = ""
    email: str = ""
    groups: tuple[str, ...] = ()
    entry: str = ""
