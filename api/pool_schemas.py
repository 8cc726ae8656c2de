"""What the API takes and gives about pools."""

from uuid import UUID

from ninja import Field, Schema

from api.schemas import Input, Ref
from vms.pools import services
from vms.pools.models import LARGEST, Pool


class PoolOut(Schema):
    id: UUID
    name: str
    description: str
    cluster: Ref
    template: Ref
    size: int
    prestarted: int
    most_per_user: int
    stateless: bool
    free: int = Field(description="machines that can be taken now")

    @staticmethod
    def resolve_free(pool: Pool) -> int:
        return services.free_machines(pool).count()


class PoolIn(Input):
    name: str = Field(min_length=1, max_length=200, description="its machines are called so, with a number")
    description: str = Field("", max_length=4000)
    cluster: str = Field(description="name or id")
    template: str = Field(description="name or id")
    size: int = Field(1, ge=1, le=LARGEST)
    prestarted: int = Field(0, ge=0, le=LARGEST, description="so many run before they are taken")
    most_per_user: int = Field(1, ge=1, le=LARGEST)
    stateless: bool = Field(True, description="a machine that was given back is made anew")


class PoolPatch(Input):
    name: str | None = Field(None, min_length=1, max_length=200)
    description: str | None = Field(None, max_length=4000)
    template: str | None = None
    size: int | None = Field(None, ge=1, le=LARGEST)
    prestarted: int | None = Field(None, ge=0, le=LARGEST)
    most_per_user: int | None = Field(None, ge=1, le=LARGEST)
    stateless: bool | None = None
