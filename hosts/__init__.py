"""Data centers, clusters and hosts: adding, enrolment, health, placement.

May be called by: vms, storage, networks, watcher, api, pages.
May call: accounts, jobs, events, hypervisor (from jobs and observe only).
"""
