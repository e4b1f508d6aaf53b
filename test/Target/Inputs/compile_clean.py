# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compiles files by every compiler and standard, every warning an error: compile_clean.py FILE... -- FLAG..."""

import shutil
import subprocess
import sys

C = ("c11",)
CXX = ("c++17",)
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


def main() -> int:
    files = sys.argv[1 : sys.argv.index("--")]
    flags = sys.argv[sys.argv.index("--") + 1 :]
    status = 0
    for compiler in ("gcc", "clang"):
        if not shutil.which(compiler):
            print(f"{compiler} is not here")
            continue
        for file in files:
            for standard in CXX if file.endswith(".cpp") else C + CXX:
                language = "c++" if standard in CXX else "c"
                command = [compiler, f"-std={standard}", *WARNINGS, *flags]
                command += ["-O1", "-x", language, "-c", file, "-o", "/dev/null"]
                result = subprocess.run(command, capture_output=True, text=True)
                print(f"{compiler} -std={standard} {file}")
                if result.returncode != 0:
                    print("failed:", result.stderr[:2000])
                    status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
