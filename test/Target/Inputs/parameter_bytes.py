"""Prints how many bytes of parameters a manifest's kernels take."""

import json
import sys

with open(sys.argv[1]) as stream:
    manifest = json.load(stream)
for kernel in manifest["kernels"]:
    count = 8 * len(kernel["parameters"])
    print(count, "at most 4352" if count <= 4352 else "more than 4352")
