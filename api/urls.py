from django.urls import path

from api.pages import reference
from api.v1 import api

urlpatterns = [path("api/v1/", api.urls), path("api/", reference, name="api-reference")]
