"""The images of the cluster's pods, in one archive: `python -m tests.kubernetes.images TAR BIN`.

BIN has the programs that `lab/build` made.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from tests.support.images import BUILD_SECONDS, base_image, built_image, docker
from tests.support.natsservers import nats_binary

LAB = Path(__file__).parent / "lab"
REPOSITORY = "agent-event-bridge"
TAG, NEWER_TAG = "lab", "lab-newer"
BESIDE = ("pause", "nats", "reloader", "nats-box")
PROGRAMS = ("nats", "nats-server-config-reloader")


def main(archive: str, programs: str) -> None:
    """Build them and save them; what Docker had before is left as it was."""
    names = [f"{REPOSITORY}:{tag}" for tag in (TAG, NEWER_TAG)]
    with built_image() as bridge:
        for name in names:
            docker("tag", bridge, name)
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(LAB / "Dockerfile", folder)
            shutil.copy(nats_binary(), Path(folder, "nats-server"))
            for program in PROGRAMS:
                shutil.copy(Path(programs, program), folder)
            for target in BESIDE:
                build = ("build", "--quiet", "--network", "host", "--target", target)
                given = ("--build-arg", f"BASE={base_image()}", "--tag", f"lab/{target}:1", folder)
                docker(*build, *given, within=BUILD_SECONDS)
        names += [f"lab/{target}:1" for target in BESIDE]
        docker("save", "--output", archive, *names, within=BUILD_SECONDS)
        docker("rmi", *names)


if __name__ == "__main__":
    main(*sys.argv[1:])
