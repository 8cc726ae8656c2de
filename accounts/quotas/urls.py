"""Addresses of quotas."""

from django.urls import path

from accounts.quotas import pages

urlpatterns = [
    path("quotas/", pages.quota_list, name="quotas"),
    path("quotas/new/", pages.new_quota, name="new-quota"),
    path("quotas/<uuid:pk>/", pages.quota, name="quota"),
    path("quotas/<uuid:pk>/edit/", pages.edit_quota, name="edit-quota"),
    path("quotas/<uuid:pk>/remove/", pages.remove_quota, name="remove-quota"),
    path("quotas/<uuid:pk>/holders/", pages.add_holder, name="add-quota-holder"),
    path("quota-holders/<uuid:pk>/remove/", pages.remove_holder, name="remove-quota-holder"),
    path("data-centers/<uuid:pk>/quota-mode/", pages.set_mode, name="quota-mode"),
]
