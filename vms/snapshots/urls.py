"""Under a VM's URL; part of the namespace `vms`."""

from django.urls import path

from vms.snapshots import pages

urlpatterns = [
    path("new/", pages.take, name="take-snapshot"),
    path("keep/", pages.keep, name="keep-preview"),
    path("leave/", pages.leave, name="leave-preview"),
    path("<uuid:key>/edit/", pages.edit, name="snapshot-edit"),
    path("<uuid:key>/preview/", pages.preview, name="snapshot-preview"),
    path("<uuid:key>/revert/", pages.revert, name="snapshot-revert"),
    path("<uuid:key>/clone/", pages.clone, name="snapshot-clone"),
    path("<uuid:key>/template/", pages.template, name="snapshot-template"),
    path("<uuid:key>/delete/", pages.delete, name="snapshot-delete"),
]
