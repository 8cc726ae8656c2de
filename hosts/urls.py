from django.urls import include, path

from hosts import inventory_pages, pages
from hosts.migration_policies import pages as migration
from hosts.power import pages as power
from hosts.scheduling import pages as scheduling

app_name = "hosts"
urlpatterns = [
    path("hosts/", pages.host_list, name="list"),
    path("hosts/new/", pages.new, name="new"),
    path("hosts/<uuid:pk>/", pages.host_detail, name="host"),
    path("hosts/<uuid:pk>/edit/", pages.edit, name="edit"),
    path("hosts/<uuid:pk>/enrol/", pages.enrol, name="enrol"),
    path("hosts/<uuid:pk>/maintenance/", pages.maintenance, name="maintenance"),
    path("hosts/<uuid:pk>/action/<str:name>/", pages.action, name="action"),
    path("hosts/<uuid:pk>/power/settings/", power.settings, name="power-settings"),
    path("hosts/<uuid:pk>/power/confirm/", power.confirm, name="power-confirm"),
    path("hosts/<uuid:pk>/power/agents/new/", power.new_agent, name="new-power-agent"),
    path("hosts/<uuid:pk>/power/agents/<uuid:agent>/", power.edit_agent, name="power-agent"),
    path("hosts/<uuid:pk>/power/agents/<uuid:agent>/<str:verb>/", power.change_agent, name="change-power-agent"),
    path("hosts/<uuid:pk>/power/<str:name>/", power.action, name="power-action"),
    path("clusters/<uuid:pk>/fencing/", power.fencing_policy, name="fencing-policy"),
    path("clusters/", inventory_pages.clusters, name="clusters"),
    path("clusters/new/", inventory_pages.new_cluster, name="new-cluster"),
    path("clusters/<uuid:pk>/", inventory_pages.cluster, name="cluster"),
    path("clusters/<uuid:pk>/edit/", inventory_pages.edit_cluster, name="edit-cluster"),
    path("clusters/<uuid:pk>/remove/", inventory_pages.remove_cluster, name="remove-cluster"),
    path("policies/", scheduling.policy_list, name="policies"),
    path("policies/new/", scheduling.new_policy, name="new-policy"),
    path("policies/<uuid:pk>/", scheduling.edit_policy, name="scheduling-policy"),
    path("policies/<uuid:pk>/remove/", scheduling.remove_policy, name="remove-policy"),
    path("migration-policies/", migration.policy_list, name="migration-policies"),
    path("migration-policies/<uuid:pk>/", migration.edit_policy, name="migration-policy"),
    path("migration-policies/<uuid:pk>/copy/", migration.new_policy, name="new-migration-policy"),
    path("migration-policies/<uuid:pk>/remove/", migration.remove_policy, name="remove-migration-policy"),
    path("data-centers/", inventory_pages.data_centers, name="data-centers"),
    path("data-centers/new/", inventory_pages.new_data_center, name="new-data-center"),
    path("data-centers/<uuid:pk>/", inventory_pages.data_center, name="data-center"),
    path("data-centers/<uuid:pk>/remove/", inventory_pages.remove_data_center, name="remove-data-center"),
    path("", include("hosts.urls_enrol")),
]
