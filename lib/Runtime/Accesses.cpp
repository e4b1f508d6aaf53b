//===- Accesses.cpp - What guards have recorded ---------------------------===//
//
// Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Accesses.h"
#include "Error.h"

#include <algorithm>
#include <cstring>

using namespace nsa::runtime;

namespace {

/// A record, as docs/Bundle.md has it.
struct Record {
  uint64_t site;
  int64_t index, bound;
  int64_t thread;

  uint64_t bits(int from, int count) const {
    return site >> from & ((uint64_t(1) << count) - 1);
  }
};

} // namespace

void nsa::runtime::requireGuards(const Manifest &manifest) {
  if (!manifest.guards)
    fail(NSA_INVALID_ARGUMENT, "step '", manifest.step,
         "' was compiled without guards, so nothing is known of its accesses: "
         "compile it with nsa-compile --guards, in Python with guards=True, or "
         "write 'attributes {guards}' on the step");
}

void Accesses::add(const Manifest &manifest, const void *buffer, size_t bytes) {
  requireGuards(manifest);
  const GuardsSpec &guards = *manifest.guards;
  if (bytes != guards.bytes())
    fail(NSA_INVALID_ARGUMENT, "argument 'buffer': expected ", guards.bytes(),
         " bytes but got ", bytes);
  std::vector<Record> records(bytes / sizeof(Record));
  std::memcpy(records.data(), buffer, bytes);
  uint64_t recorded = records.front().site;
  count += recorded;
  // Behind the number of wrong accesses.
  unclaimed += static_cast<uint64_t>(records.front().index);
  size_t numKnown = std::min<uint64_t>(recorded, records.size() - 1);
  for (size_t i = 1; i <= numKnown; ++i) {
    const Record &record = records[i];
    uint64_t op = record.bits(0, 20), argument = record.bits(20, 20),
             kernel = record.bits(40, 16);
    if (op >= guards.ops.size() || argument >= manifest.arguments.size() ||
        kernel >= manifest.kernels.size())
      fail(NSA_INVALID_ARGUMENT, "step '", manifest.step,
           "': a record of its guards speaks of what the manifest does not "
           "have: they are of different compilations, or the record was "
           "overwritten");
    nsa_access access{};
    access.kernel = manifest.kernels[kernel].name.c_str();
    access.op = guards.ops[op].name.c_str();
    access.location = guards.ops[op].location.c_str();
    access.argument = manifest.arguments[argument].name.c_str();
    access.is_store = static_cast<int32_t>(record.bits(60, 1));
    access.dim = static_cast<int32_t>(record.bits(56, 4));
    access.index = record.index;
    access.bound = record.bound;
    access.is_taken = static_cast<int32_t>(record.bits(61, 1));
    access.row = -1;
    // Places are counted row by row; nobody claims one of an empty row.
    if (access.is_taken && access.dim == 1 && record.bound > 0) {
      access.row = record.index / record.bound;
      access.index = record.index % record.bound;
    }
    // -1 for both.
    access.block = record.thread >> 32;
    access.thread = static_cast<int32_t>(record.thread);
    known.push_back(access);
  }
}

/// What went wrong, and what happened instead.
static void describe(std::ostream &os, const nsa_access &access) {
  os << access.op;
  if (access.location[0])
    os << " at " << access.location;
  if (access.is_taken) {
    os << ": two elements go to one place of argument '" << access.argument
       << "', index ";
    if (access.row >= 0)
      os << "[" << access.row << ", " << access.index << "]";
    else
      os << access.index;
  } else {
    os << (access.is_store ? " stores to" : " loads from") << " argument '"
       << access.argument << "' at index " << access.index << " of dimension "
       << access.dim << ", whose size is " << access.bound;
  }
  os << ", in kernel '" << access.kernel << "'";
  if (access.block < 0)
    os << " on the host";
  else
    os << ", block " << access.block << ", thread " << access.thread;
  os << (access.is_taken   ? "; the later one was not stored"
         : access.is_store ? "; the store was skipped"
                           : "; the load gave 0 instead");
}

void Accesses::raise(const Manifest &manifest) const {
  if (count == 0)
    return;
  std::ostringstream message;
  message << "step '" << manifest.step << "': ";
  if (known.empty()) {
    message << count << " wrong accesses were skipped";
    throw StatusError(NSA_WRONG_ACCESS, message.str());
  }
  describe(message, known.front());
  if (count > 1)
    message << "; " << count - 1
            << (count == 2 ? " more access was wrong" : " more were wrong");
  throw StatusError(NSA_WRONG_ACCESS, message.str(), known.front().argument);
}

Accesses nsa::runtime::takeAccesses(const Step &step) {
  requireGuards(step.manifest);
  Accesses accesses;
  std::vector<char> copy(step.manifest.guards->bytes());
  auto add = [&] { accesses.add(step.manifest, copy.data(), copy.size()); };
  if (step.hostGuards) {
    std::memcpy(copy.data(), step.hostGuards, copy.size());
    std::memset(step.hostGuards, 0, copy.size());
    add();
  }
  for (const DeviceModule *module : step.findDeviceModules()) {
    Driver &driver = Driver::get();
    ContextScope scope(driver, module->context);
    driver.check(driver.cuCtxSynchronize(), "cuCtxSynchronize");
    driver.check(driver.cuMemcpyDtoH(copy.data(), module->guards, copy.size()),
                 "cuMemcpyDtoH");
    driver.check(driver.cuMemsetD8(module->guards, 0, copy.size()),
                 "cuMemsetD8");
    // cuMemsetD8 may return before it is done, and a stream need not wait.
    driver.check(driver.cuCtxSynchronize(), "cuCtxSynchronize");
    add();
  }
  return accesses;
}
