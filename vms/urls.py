from django.urls import include, path

app_name = "vms"
urlpatterns = [
    path("vms/<uuid:vm_id>/", include("vms.consoles.urls")),
]
