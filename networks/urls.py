from django.urls import path

from networks import pages

app_name = "networks"
urlpatterns = [
    path("networks/", pages.network_list, name="list"),
    path("networks/new/", pages.new, name="new"),
    path("networks/<uuid:pk>/", pages.network_detail, name="network"),
    path("networks/<uuid:pk>/action/<str:name>/", pages.action, name="action"),
]
