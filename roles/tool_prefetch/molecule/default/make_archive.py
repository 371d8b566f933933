"""A catalogue's key and an archive with one tool that needs one package: what a site that reaches nothing is brought.

usage: make_archive.py FOLDER
"""

import hashlib
import sys
import zipfile
from pathlib import Path

from joserfc.jwk import ECKey

from fedproc.catalog.bundle import pack
from fedproc.catalog.folder import load_tool
from fedproc.catalog.offline import MANIFEST, SOURCE, ArchiveWriter
from fedproc.catalog.signing import sign_manifest, tool_digest
from fedproc.common.keys import Signer

TOOL = """
schema_version: 1
id: word
version: 1.0.0
mode: distributed
biotools: {name: Word, description: Says a word., homepage: "https://example.org/"}
survey:
  name: Word
  contributor: a scenario
  involvement: developer
  segment: analytical software
  licence: Apache-2.0
  open_source: true
  free_software: true
  maturity_level: 5
  data_security: security-by-default
  sensitive_data: false
  dpia_up_to_date: false
  technical_requirements: {cpu: little}
  internet_access: false
  running_mode: batch
  input_required: nothing
  output_provided: a word
tasks:
  - name: say
    placement: worker
    runtime: {requirements: requirements.lock}
    command: ["{python}", "-c", "import word"]
"""
ABOUT = "word-1.0.dist-info"
PACKAGE = {
    "word.py": "WORD = 'ready'\n",
    f"{ABOUT}/METADATA": "Metadata-Version: 2.1\nName: word\nVersion: 1.0\n",
    f"{ABOUT}/WHEEL": "Wheel-Version: 1.0\nGenerator: scenario\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    f"{ABOUT}/RECORD": f"word.py,,\n{ABOUT}/METADATA,,\n{ABOUT}/WHEEL,,\n{ABOUT}/RECORD,,\n",
}


def main(folder: Path) -> None:
    if (folder / "tools.tar").exists():
        return
    tool = folder / "word"
    tool.mkdir(parents=True, exist_ok=True)
    wheel = folder / "word-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        for name, content in PACKAGE.items():
            packed.writestr(name, content)
    (tool / "tool.yaml").write_text(TOOL)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tool / "requirements.lock").write_text(f"word==1.0 --hash=sha256:{digest}\n")
    key = ECKey.generate_key("P-256")
    (folder / "catalogue.pub").write_bytes(key.as_pem(private=False))
    manifest = load_tool(tool)
    home = tool_digest(manifest).replace(":", "-")
    for name, content in (("signed", sign_manifest(manifest, Signer(key)).encode()), ("source", pack(tool, manifest))):
        (folder / name).write_bytes(content)
    with ArchiveWriter(folder / "tools.tar") as archive:
        archive.add(MANIFEST.format(home), folder / "signed")
        archive.add(SOURCE.format(home), folder / "source")
        archive.add(f"wheels/{wheel.name}", wheel)
    changed = wheel.read_bytes().replace(b"'ready'", b"'other'")
    (folder / "changed").write_bytes(changed)
    with ArchiveWriter(folder / "changed.tar") as archive:
        archive.add(MANIFEST.format(home), folder / "signed")
        archive.add(SOURCE.format(home), folder / "source")
        archive.add(f"wheels/{wheel.name}", folder / "changed")


main(Path(sys.argv[1]))
