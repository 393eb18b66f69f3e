"""A network camera on loopback: H.264 over RTSP whose pictures tell when they were made.

Run by Debian's own python3:  rtsp_server.py PORT FOLDER [USER:PASSWORD]
plays FOLDER/N.rgb (640x480 RGB), N being the monotonic clock in frames, modulo 64, and prints
"ready". gst-rtsp-server stands for the camera; it is told to stall or die by signals.
"""

import sys
import time
from pathlib import Path

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

FPS, COUNT = 25, 64
LAUNCH = f"""( appsrc name=pictures is-live=true format=time do-timestamp=true
    caps=video/x-raw,format=RGB,width=640,height=480,framerate={FPS}/1
    ! videoconvert ! video/x-raw,format=I420
    ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={FPS} bitrate=4000
    ! rtph264pay name=pay0 config-interval=1 )"""


class Pictures:
    """Pushes the picture of the moment, FPS times a second, into each stream that is open."""

    def __init__(self, folder: Path) -> None:
        self._pictures = [(folder / f"{number}.rgb").read_bytes() for number in range(COUNT)]

    def feed(self, _factory: object, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_by_name("pictures")
        GLib.timeout_add(1000 // FPS, self._push, source)

    def _push(self, source: Gst.Element) -> bool:
        number = int(time.monotonic() * FPS) % COUNT
        buffer = Gst.Buffer.new_wrapped(self._pictures[number])
        return source.emit("push-buffer", buffer) in (Gst.FlowReturn.OK, Gst.FlowReturn.FLUSHING)


def require_password(server: GstRtspServer.RTSPServer, user: str, password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", user)
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)


def main() -> None:
    Gst.init(None)
    port, folder = sys.argv[1], Path(sys.argv[2])
    server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
    factory = GstRtspServer.RTSPMediaFactory(launch=LAUNCH, shared=True)
    factory.connect("media-configure", Pictures(folder).feed)
    if len(sys.argv) > 3:
        user, _, password = sys.argv[3].partition(":")
        require_password(server, user, password)
        factory.add_role_from_structure(
            Gst.Structure.new_from_string(
                f"{user}, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"
            )
        )
    server.get_mount_points().add_factory("/bin", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


main()
