# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Asks nsa-opt for every name that compilers and Python here take: taken_names.py GENERATED_HEADER CUDA_INCLUDE."""

import keyword
import os
import re
import subprocess
import sys

C_HEADERS = """assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg
stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath time uchar wchar wctype dlfcn fcntl pthread
semaphore sched unistd poll"""
CXX_HEADERS = """algorithm any array atomic bitset charconv chrono complex condition_variable deque exception execution
filesystem forward_list fstream functional future iomanip iostream istream iterator list locale map memory
memory_resource mutex new numeric optional ostream queue random ratio regex set shared_mutex sstream stack stdexcept
streambuf string string_view system_error thread tuple type_traits unordered_map unordered_set utility valarray variant
vector"""


def run(command: list[str], text: str) -> str:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


def include(names: str, suffix: str = "") -> str:
    return "".join(f"#include <{name}{suffix}>\n" for name in names.split())


def search_folders(language: str) -> set[str]:
    """The folders that `#include <...>` looks into."""
    command = ["g++", "-E", "-v", "-x", language, "-", "-o", os.devnull]
    log = subprocess.run(command, input="", capture_output=True, text=True, check=True).stderr
    lines = log.split("#include <...> search starts here:")[1].split("End of search list")[0].split()
    # Those of the last are included as <backward/...>.
    return {os.path.realpath(line) for line in lines if os.path.basename(line) != "backward"}


def headers() -> set[str]:
    """Of the headers that standard ones include: those whose names a step could have."""
    names = set()
    sources = {"c": include(C_HEADERS, ".h"), "c++": include(CXX_HEADERS) + include(C_HEADERS, ".h")}
    for language, source in sources.items():
        folders = search_folders(language)
        for path in run(["g++", "-M", "-x", language, "-"], source).replace("\\\n", " ").split():
            folder, file = os.path.split(path)
            if os.path.realpath(folder) in folders and re.fullmatch(r"[A-Za-z_]\w*\.h", file):
                names.add(file[:-2])
    return names


def macros(header: str, cuda: str) -> set[str]:
    """Macros without arguments around a generated header, but those that mean themselves."""
    # The real cuda.h includes stdlib.h.
    source = include("stdlib", ".h") + f'#include "{header}"\n'
    text = run(["gcc", "-dM", "-E", "-isystem", cuda, "-x", "c", "-"], source)
    defined = re.findall(r"^#define (\w+)(?: (.*))?$", text, re.MULTILINE)
    return {name for name, value in defined if name != value and not name.startswith("NSA_STEP_")}


def refused(names: list[str], form: str) -> set[str]:
    """Which of the names nsa-opt says to be taken."""
    text = "\n// -----\n".join(form % name for name in names)
    result = subprocess.run(
        ["nsa-opt", "--split-input-file", "-"], input=text, capture_output=True, text=True
    )
    return set(re.findall(r"expected another name for (?:the step|a port) than '(\w+)'", result.stderr))


def check(what: str, names: set[str], form: str) -> None:
    missing = names - refused(sorted(names), form)
    for name in sorted(missing):
        print(f"{what}: '{name}' is not refused")
    if not missing:
        print(f"{what}: all {len(names)} refused")


def main() -> None:
    port = "nsa.step @step(in %%%s : tensor<?xi32>) {\n}"
    check("headers", headers(), "nsa.step @%s(in %%a : tensor<?xi32>) {\n}")
    check("macros", macros(sys.argv[1], sys.argv[2]), port)
    check("keywords", set(keyword.kwlist) | {"self", "stream"}, port)


if __name__ == "__main__":
    main()
