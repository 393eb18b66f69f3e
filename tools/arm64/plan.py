"""What is installed, which processors are emulated, which tests run, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

CORES = 4


@dataclass(frozen=True, slots=True)
class Board:
    """A processor that qemu knows; the wheels must run on its instructions and no others."""

    name: str
    cpu: str  # to qemu
    part: str  # to the kernel, which calls ARM's own designs by number
    features: str  # as in /proc/cpuinfo

    def cpuinfo(self) -> str:
        """What /proc/cpuinfo would say; onnxruntime picks its kernels by it."""
        core = (
            "processor\t: {}\n"
            f"Features\t: {self.features}\n"
            "CPU implementer\t: 0x41\n"
            "CPU architecture: 8\n"
            "CPU variant\t: 0x0\n"
            f"CPU part\t: {self.part}\n"
            "CPU revision\t: 3\n\n"
        )
        return "".join(core.format(number) for number in range(CORES))


# ARMv8.0, as in Pi 3, Zero 2 W and Jetson Nano; demo and tests run on it.
PI_4 = Board("Raspberry Pi 4", "cortex-a72", "0xd08", "fp asimd evtstrm crc32 cpuid")
# ARMv8.2 with int8 dot products, as in Jetson Orin: onnxruntime has other kernels for it.
PI_5 = Board(
    *("Raspberry Pi 5", "cortex-a76", "0xd0b"),
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp",
)
BOARDS = (PI_4, PI_5)

PACKAGES = ("python3", "python3-venv", "ca-certificates", "mosquitto", "mosquitto-clients")
# Decide what a picture becomes, so both sides should have the same.
COMPARED = ("numpy", "onnxruntime", "opencv-python-headless", "paho-mqtt")
NOT_FOR_TESTS = ("mypy", "ruff", "smartbin")  # of the extra `dev`; the rest is for the tests

# What `pip install .` and the tests read of a checkout.
SOURCES = (
    *("LICENSE", "README.md", "config.toml", "pyproject.toml"),
    *("docs", "edge", "models", "systemd", "tests", "trainer"),
)

# Each file of the quick run, with the words of which a test's name must hold one; none: all of it.
# The other files, and the rest of these, run by --all.
QUICK = {
    "test_bundle.py": (),
    "test_cameras.py": (),
    "test_cli.py": ("help", "classify_prints", "bad_model", "every_fault", "shipped_config"),
    "test_config.py": (),
    "test_daemon.py": ("published_as_designed", "say_what_is_on"),
    "test_decide.py": (),
    "test_outbox.py": (),
    "test_pictures.py": (),
    "test_samples.py": (),
    "test_systemd.py": ("ready_comes", "notifier"),
    "test_triggers.py": ("rendered", "the_box_of_an_item", "any_shape", "after_the_light_changed"),
    "test_wire.py": (),
}
WRAPS = "subtracts bytes, which wraps where a colour decodes to one level less than expected"
LEFT_OUT = {
    "test_daemon.py::test_broker_that_comes_late_gets_every_event": "races mosquitto_sub's start",
    "test_daemon.py::test_a_slow_folder_is_no_silent_camera": "gives a camera half a second",
    "test_demo.py": "the demo is held against x86 instead, with time for emulation",
    "test_layers.py": "reads the source, which has no processor",
    "test_cameras.py::test_a_rotation_turns_clockwise": WRAPS,
    "test_cameras.py::test_frames_are_rgb_of_the_cameras_size": WRAPS,
}
DEMO_TRIES = 3  # a decision that emulation makes too late is dropped, as it would be in a bin

# Seconds. About five times what two free cores need.
LIMIT_DOWNLOAD_S = 600.0
LIMIT_UNPACK_S = 900.0
LIMIT_INSTALL_S = 900.0
LIMIT_RUN_S = 300.0
LIMIT_TESTS_S = 1200.0
LIMIT_ALL_TESTS_S = 3000.0
FREE_BYTES = 3 * 10**9
