from django.urls import include, path

from storage import domain_pages, pages
from vms.disks import pages as disks

app_name = "storage"
urlpatterns = [
    path("", include("storage.images.urls")),
    path("storage/", domain_pages.domain_list, name="list"),
    path("storage/new/", domain_pages.new, name="new"),
    path("storage/<uuid:pk>/", domain_pages.domain_detail, name="storage-domain"),
    path("storage/<uuid:pk>/action/<str:name>/", domain_pages.action, name="action"),
    path("storage/<uuid:pk>/edit/", domain_pages.edit, name="edit"),
    path("storage/<uuid:pk>/connection/", domain_pages.reconnect, name="reconnect"),
    path("storage/<uuid:pk>/destroy/", domain_pages.destroy, name="destroy"),
    path("storage/<uuid:pk>/take-in/", domain_pages.take_in, name="take-in"),
    path("storage/<uuid:pk>/found/<int:row>/delete/", domain_pages.delete_found, name="delete-found"),
    path("disks/", pages.disk_list, name="disks"),
    path("disks/new/", pages.new_disk, name="new-disk"),
    path("disks/<uuid:pk>/", pages.disk_detail, name="disk"),
    path("disks/<uuid:pk>/remove/", pages.remove_disk, name="remove-disk"),
    path("disks/<uuid:pk>/resize/", disks.resize_disk, name="resize-disk"),
    path("disks/<uuid:pk>/move/", disks.move_disk, name="move-disk"),
    path("disks/<uuid:pk>/copy/", disks.copy_disk, name="copy-disk"),
    path("disks/<uuid:pk>/sparsify/", disks.sparsify_disk, name="sparsify-disk"),
    path("disks/<uuid:pk>/share/", disks.share_disk, {"shareable": True}, name="share-disk"),
    path("disks/<uuid:pk>/unshare/", disks.share_disk, {"shareable": False}, name="unshare-disk"),
]
