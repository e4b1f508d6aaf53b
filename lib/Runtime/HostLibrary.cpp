//===- HostLibrary.cpp - Shared libraries of host kernels
//---------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Step.h"

#include <algorithm>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <link.h>
#include <map>
#include <mutex>
#include <sys/stat.h>

using namespace nsa::runtime;

/// Whether the file has every byte that its headers speak of. What is no
/// library of this machine is for the loader to refuse.
static bool isWhole(const std::string &path) {
  std::ifstream stream(path, std::ios::binary | std::ios::ate);
  if (!stream)
    return true;
  uint64_t size = static_cast<uint64_t>(stream.tellg());
  ElfW(Ehdr) header;
  if (size < sizeof(header))
    return false;
  stream.seekg(0);
  stream.read(reinterpret_cast<char *>(&header), sizeof(header));
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 ||
      header.e_phentsize != sizeof(ElfW(Phdr)))
    return true;
  auto fits = [&](uint64_t offset, uint64_t bytes) {
    return offset <= size && bytes <= size - offset;
  };
  // The table of sections is what linkers write last.
  if (!fits(header.e_shoff, uint64_t(header.e_shnum) * header.e_shentsize) ||
      !fits(header.e_phoff, uint64_t(header.e_phnum) * header.e_phentsize))
    return false;
  std::vector<ElfW(Phdr)> segments(header.e_phnum);
  stream.seekg(static_cast<std::streamoff>(header.e_phoff));
  stream.read(
      reinterpret_cast<char *>(segments.data()),
      static_cast<std::streamsize>(segments.size() * sizeof(ElfW(Phdr))));
  for (const ElfW(Phdr) & segment : segments)
    if (segment.p_type == PT_LOAD && !fits(segment.p_offset, segment.p_filesz))
      return false;
  return static_cast<bool>(stream);
}

/// A path to the file at `path` that no other file has been loaded by. The
/// loader goes by the name first: where a file was replaced, as a bundle is
/// that is saved again, it would give back the one that there was.
static std::string uniquePath(const std::string &path) {
  using File = std::pair<dev_t, ino_t>;
  static std::mutex mutex;
  // Never destroyed, as the libraries are never closed.
  static auto *known = new std::map<std::string, std::vector<File>>();

  struct stat status;
  if (stat(path.c_str(), &status) != 0)
    return path;
  File file(status.st_dev, status.st_ino);
  std::lock_guard<std::mutex> lock(mutex);
  std::vector<File> &files = (*known)[path];
  auto found = std::find(files.begin(), files.end(), file);
  std::string spelt = path;
  for (auto it = files.begin(); it != found; ++it)
    spelt.insert(spelt.rfind('/') + 1, "./");
  if (found == files.end())
    files.push_back(file);
  return spelt;
}

void *nsa::runtime::openHostLibrary(const std::string &path,
                                    std::string &error) {
  if (!isWhole(path)) {
    error = path + ": a part of the file is missing";
    return nullptr;
  }
  void *library = dlopen(uniquePath(path).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    error = dlerror();
  return library;
}
