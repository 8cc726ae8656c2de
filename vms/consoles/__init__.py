"""Consoles: a VM's screen (VNC) and its serial line in the browser, and thumbnails of its screen.

May be called by: portal.routing, vms.urls, pages. May call: accounts, events, hosts.connect, hypervisor.

The WebSockets speak so, for both kinds (`consumers`):
1. The browser sends one text message, `{"ticket": "…"}`. A ticket in a URL would end in logs, so none is taken there.
2. The answer is a text message: `{"op": "open", …}`, or `{"op": "refused", "code": "…", "reason": "…"}` and the close.
3. From then on binary messages are the console's bytes in both directions, and text messages from the server are news:
   `{"op": "viewers", "viewers": […]}`, and `{"op": "closed", "code": "…", "reason": "…"}` before a close.

The bytes of a screen begin with an RFB handshake that needs no password: the one with the host is done by then (`rfb`).
"""
