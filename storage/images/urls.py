"""Pages of the image library; a part of storage.urls."""

from django.urls import path

from storage.images import pages

urlpatterns = [
    path("images/", pages.image_list, name="images"),
    path("images/upload/", pages.upload, name="upload-image"),
    path("images/import/", pages.import_url, name="import-image"),
    path("images/uploads/<uuid:pk>/give-up/", pages.give_up, name="give-up-upload"),
    path("disks/<uuid:pk>/download/", pages.download, name="download"),
    path("disks/<uuid:pk>/export/", pages.export, name="export"),
]
