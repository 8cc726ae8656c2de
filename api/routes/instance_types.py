"""Instance types: the sizes to choose from when a VM is made. Everybody who signed in may read them."""

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router

from api.lookup import Paging, filtered, page_of
from api.schemas import InstanceTypeOut, Page
from vms.models import InstanceType

router = Router()


@router.get("/instance-types", response=Page[InstanceTypeOut], tags=["Templates"], summary="List instance types")
def list_instance_types(request: HttpRequest, paging: Query[Paging], name: str | None = None) -> Any:
    return page_of(filtered(InstanceType.objects.all(), {"name": name}), paging)
