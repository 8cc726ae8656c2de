from django.urls import include, path

from storage import pages

app_name = "storage"
urlpatterns = [
    path("", include("storage.images.urls")),
    path("storage/", pages.domain_list, name="list"),
    path("storage/new/", pages.new, name="new"),
    path("storage/<uuid:pk>/", pages.domain_detail, name="storage-domain"),
    path("storage/<uuid:pk>/action/<str:name>/", pages.action, name="action"),
    path("disks/", pages.disk_list, name="disks"),
    path("disks/new/", pages.new_disk, name="new-disk"),
    path("disks/upload/", pages.upload, name="upload"),
    path("disks/<uuid:pk>/", pages.disk_detail, name="disk"),
    path("disks/<uuid:pk>/remove/", pages.remove_disk, name="remove-disk"),
]
