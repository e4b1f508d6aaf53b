//===- Bundle.cpp - Loading the steps of a directory ----------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "Step.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

using namespace nsa::runtime;
namespace fs = std::filesystem;

static std::string readFile(const fs::path &path) {
  errno = 0;
  std::ifstream stream(path, std::ios::binary);
  std::string contents;
  char block[1 << 14];
  // A folder opens, and fails when it is read.
  do {
    stream.read(block, sizeof(block));
    contents.append(block, static_cast<size_t>(stream.gcount()));
  } while (stream);
  if (!stream.eof() || stream.bad())
    fail(NSA_IO, path.string(),
         ": cannot be read: ", errno ? std::strerror(errno) : "input error");
  return contents;
}

/// Whether a file of that name may be a manifest. Hidden files are notes that
/// other programs leave; folders are no files, and pipes are not to be waited
/// for. What cannot be looked at is for reading to report.
static bool mayBeManifest(const fs::path &path) {
  if (path.extension() != ".json" || path.filename().string()[0] == '.')
    return false;
  std::error_code error;
  fs::file_status status = fs::status(path, error);
  return !fs::exists(status) || fs::is_regular_file(status);
}

/// The step of a manifest; null if the file is something else.
static std::shared_ptr<const Step> loadStep(const fs::path &path) {
  std::string text = readFile(path);
  std::string image;
  try {
    std::optional<Manifest> manifest = Manifest::parseUnlessForeign(text);
    if (!manifest)
      return nullptr;
    fs::path folder = path.parent_path();
    if (!manifest->ptx.empty())
      image = readFile(folder / manifest->ptx);
    auto step = std::make_shared<Step>(std::move(*manifest), std::move(text),
                                       std::move(image), nullptr, 0);
    if (!step->manifest.cubin.empty())
      step->cubin = readFile(folder / step->manifest.cubin);
    if (!step->manifest.host.empty())
      step->loadHostLibrary(
          fs::absolute(folder / step->manifest.host).string());
    return step;
  } catch (const StatusError &error) {
    if (error.status == NSA_IO)
      throw;
    fail(error.status, path.string(), ": ", error.what());
  }
}

std::vector<std::shared_ptr<const Step>>
nsa::runtime::loadBundle(const std::string &directory) {
  std::vector<fs::path> manifests;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error))
    if (mayBeManifest(it->path()))
      manifests.push_back(it->path());
  if (error)
    fail(NSA_IO, directory, ": cannot be read: ", error.message());
  std::vector<std::shared_ptr<const Step>> steps;
  for (const fs::path &path : manifests)
    if (std::shared_ptr<const Step> step = loadStep(path))
      steps.push_back(std::move(step));
  if (steps.empty())
    fail(NSA_IO, directory, ": expected a bundle but it has no NAME.json");
  std::sort(steps.begin(), steps.end(), [](const auto &a, const auto &b) {
    return a->manifest.step < b->manifest.step;
  });
  for (size_t i = 1; i < steps.size(); ++i)
    if (steps[i - 1]->manifest.step == steps[i]->manifest.step)
      fail(NSA_MANIFEST, directory, ": step '", steps[i]->manifest.step,
           "' is there twice");
  return steps;
}
