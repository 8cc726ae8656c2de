"""Tests on real libvirt hosts with real QEMU guests."""
