"""What we are called."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Self:
    """Our own addresses as the provider was told them."""

    entity_id: str
    answer_url: str
