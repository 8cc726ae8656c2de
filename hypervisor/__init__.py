"""Everything that knows libvirt: connections, domain XML, verbs, events, statistics, errors.

May be called by: jobs, the watcher, the console's byte streams, the lab. May call: libvirt and lxml, nothing of ours and no Django.
All functions block and may be called from any thread; none of them returns a libvirt object.
"""
