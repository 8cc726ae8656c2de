from django.urls import path

from storage import domain_pages, pages

app_name = "storage"
urlpatterns = [
    path("storage/", domain_pages.domain_list, name="list"),
    path("storage/new/", domain_pages.new, name="new"),
    path("storage/<uuid:pk>/", domain_pages.domain_detail, name="storage-domain"),
    path("storage/<uuid:pk>/action/<str:name>/", domain_pages.action, name="action"),
    path("storage/<uuid:pk>/edit/", domain_pages.edit, name="edit"),
    path("storage/<uuid:pk>/connection/", domain_pages.reconnect, name="reconnect"),
    path("storage/<uuid:pk>/destroy/", domain_pages.destroy, name="destroy"),
    path("storage/<uuid:pk>/take-in/", domain_pages.take_in, name="take-in"),
    path("disks/", pages.disk_list, name="disks"),
    path("disks/new/", pages.new_disk, name="new-disk"),
    path("disks/upload/", pages.upload, name="upload"),
    path("disks/<uuid:pk>/", pages.disk_detail, name="disk"),
    path("disks/<uuid:pk>/remove/", pages.remove_disk, name="remove-disk"),
]
