"""Compiles and assembles examples for chips: assemble_all.py EXAMPLES OUT CHIP..."""

import subprocess
import sys

STEPS = ("copy_decode", "copy_target_verify", "copy_draft_extend", "decode_replay")
examples, out, *chips = sys.argv[1:]
for chip in chips:
    for step in STEPS:
        folder = f"{out}/{chip}"
        source = f"{examples}/{step}.mlir"
        command = ["nsa-compile", source, "-o", folder, f"--chip={chip}", "--emit=ptx,cubin"]
        subprocess.run(command, check=True)
    print(f"{chip}: {len(STEPS)} steps")
