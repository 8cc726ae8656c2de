from django.urls import include, path

from portal.selfservice import machine
from vms import pages, size_pages, template_pages
from vms.disks import pages as disks
from vms.guest import pages as guest
from vms.ha import pages as ha
from vms.migration import flight
from vms.migration import pages as migration
from vms.ova import pages as ova
from vms.placement import pages as placement
from vms.pools import pages as pools
from vms.records import pages as records

app_name = "vms"
urlpatterns = [
    path("vms/", pages.vm_list, name="list"),
    path("vms/new/", pages.new, name="new"),
    path("vms/bulk/", pages.bulk, name="bulk"),
    path("vms/<uuid:pk>/", machine.machine, name="vm"),
    path("vms/<uuid:pk>/menu/", pages.menu, name="menu"),
    path("vms/<uuid:pk>/edit/", pages.edit, name="edit"),
    path("vms/<uuid:pk>/remove/", pages.remove, name="remove"),
    path("vms/<uuid:pk>/run-once/", pages.run_once, name="run-once"),
    path("vms/<uuid:pk>/make-template/", pages.make_template, name="make-template"),
    path("vms/<uuid:pk>/first-boot/", guest.edit_first_boot, name="first-boot"),
    path("vms/<uuid:pk>/guest/password/", guest.password, name="guest-password"),
    path("vms/<uuid:pk>/guest/freeze/", guest.freeze, name="guest-freeze"),
    path("vms/<uuid:pk>/guest/<str:name>/", guest.action, name="guest-action"),
    path("vms/<uuid:pk>/drift/", pages.drift, name="drift"),
    path("vms/<uuid:pk>/disks/attach/", disks.attach, name="attach-disk"),
    path("vms/<uuid:pk>/disks/new/", disks.new, name="new-disk"),
    path("vms/<uuid:pk>/attachments/<uuid:row>/detach/", disks.detach, name="detach-disk"),
    path("vms/<uuid:pk>/attachments/<uuid:row>/limits/", disks.limits, name="disk-limits"),
    path("vms/<uuid:pk>/action/<str:name>/", pages.action, name="action"),
    path("vms/<uuid:vm_id>/", include("vms.consoles.urls")),
    path("vms/<uuid:pk>/snapshots/", include("vms.snapshots.urls")),
    path("vms/<uuid:pk>/give-back/", pools.give_back, name="give-back"),
    path("vms/<uuid:pk>/leave-down/", ha.leave_down, name="leave-down"),
    path("vms/<uuid:pk>/migrate/", migration.migrate, name="migrate"),
    path("migrations/", flight.migrations, name="migrations"),
    path("vms/<uuid:pk>/placement/", placement.decisions, name="decisions"),
    path("clusters/<uuid:pk>/scheduling/", placement.scheduling, name="scheduling"),
    path("clusters/<uuid:pk>/balance/", placement.balance_now, name="balance"),
    path("clusters/<uuid:pk>/affinity-groups/new/", placement.new_group, name="new-affinity-group"),
    path("affinity-groups/<uuid:pk>/", placement.edit_group, name="affinity-group"),
    path("affinity-groups/<uuid:pk>/remove/", placement.remove_group, name="remove-affinity-group"),
    path("images/ova/<uuid:pk>/", ova.preview, name="import-ova"),
    path("vms/<uuid:pk>/ova/", ova.export, name="ova"),
    path("storage/<uuid:pk>/take-in-vms/", records.take_in, name="take-in"),
    path("pools/", pools.pool_list, name="pools"),
    path("pools/new/", pools.new_pool, name="new-pool"),
    path("pools/<uuid:pk>/", pools.pool, name="pool"),
    path("pools/<uuid:pk>/edit/", pools.edit_pool, name="edit-pool"),
    path("pools/<uuid:pk>/remove/", pools.remove_pool, name="remove-pool"),
    path("pools/<uuid:pk>/take/", pools.take, name="take"),
    path("templates/", template_pages.template_list, name="templates"),
    path("templates/<uuid:pk>/", template_pages.template_detail, name="template"),
    path("templates/<uuid:pk>/edit/", template_pages.edit, name="edit-template"),
    path("templates/<uuid:pk>/remove/", template_pages.remove, name="remove-template"),
    path("instance-types/", size_pages.size_list, name="sizes"),
    path("instance-types/new/", size_pages.new_size, name="new-size"),
    path("instance-types/<uuid:pk>/", size_pages.edit_size, name="edit-size"),
    path("instance-types/<uuid:pk>/remove/", size_pages.remove_size, name="remove-size"),
]
