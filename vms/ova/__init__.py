"""Whole machines in and out, as OVA. What is in such a file is read by storage.images.ova; here are the VM's rows and jobs."""
