"""VMs written down beside their disks, so that a storage domain brings both back to a Vireo that knows neither."""
